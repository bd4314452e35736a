/** Hangings that the reader and her department saved; kept on the server. */
import type { Cell, Facts, SavedHanging } from "./hanging";
import type { Layout } from "./layouts";
import { fetchJson, sendJson, type Page } from "./page";

const ADDRESS = "/api/viewer/hangings";

export interface NewHanging extends Facts {
  name: string;
  forDepartment: boolean;
  layout: Layout;
  cells: (Cell | null)[];
}

export class SavedHangings {
  all: SavedHanging[] = [];
  mayHangForDepartment = false;

  constructor(private readonly page: Page) {}

  /** Without an answer the house's own hangings stand. */
  async fetch(): Promise<void> {
    try {
      const answer = await fetchJson<{ hangings: SavedHanging[]; may_hang_for_department: boolean }>(ADDRESS);
      this.all = answer.hangings;
      this.mayHangForDepartment = answer.may_hang_for_department;
    } catch (error) {
      console.warn("viewer: saved hangings are not here", error);
    }
  }

  /** Answers the status: 200, 403, 409 where the department's was changed meanwhile, 0 where the line is down. */
  async save(hanging: NewHanging): Promise<number> {
    const { name, forDepartment, modality, bodyPart, laterality, views, layout, cells } = hanging;
    const same = this.all.find((one) => one.for_department === forDepartment && one.modality === modality && one.body_part === bodyPart
      && one.laterality === laterality && [...one.views].sort().join() === [...views].sort().join());
    const answer = await this.send("PUT", ADDRESS, { for_department: forDepartment, version: same?.version ?? null, name, modality,
      body_part: bodyPart, laterality, views, layout, cells });
    await this.fetch();
    return answer;
  }

  async discard(id: number): Promise<number> {
    const answer = await this.send("DELETE", `${ADDRESS}/${id}`);
    await this.fetch();
    return answer;
  }

  private send(method: "PUT" | "DELETE", url: string, body?: unknown): Promise<number> {
    return sendJson(method, url, body, this.page.csrf).then(({ status }) => status, () => 0);
  }
}
