import { expect, test } from "vitest";
import { ageOf } from "../src/imaging_words";
import type { Patient } from "../src/manifest";

const patient = (birth_date: string, age = ""): Patient => ({ name: "张三", sex: "M", age, birth_date, patient_id: "P1" });

test.each<[string, string, string, string, string]>([
  ["in years on the day of the exam", "19580314", "000Y", "20261128", "68 岁"],
  ["one year less on the day before the birthday", "19580314", "", "20260313", "67 岁"],
  ["in months under two years", "20250130", "", "20261128", "21 个月"],
  ["in days under two months", "20261101", "002M", "20261128", "27 天"],
  ["as the device says where no birth date is known", "", "045Y", "20261128", "45 岁"],
  ["not at all where a device says nought", "", "000Y", "20261128", ""],
  ["not at all before the birth", "20270101", "", "20261128", ""],
])("an age is counted %s", (_, born, said, on, expected) => {
  expect(ageOf(patient(born, said), on)).toBe(expected);
});
