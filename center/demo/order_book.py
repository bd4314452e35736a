"""Who is ill of what, and what is ordered for it: the opening of the demo, and what comes after it."""
# ruff: noqa: E501 - a Chinese character counts as two columns

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import date

from center.demo import county

# GB 11643: weights and check characters of a resident identity number.
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"
# A division code that was never given to any county.
_DIVISION = "539928"


@dataclass(frozen=True)
class Person:
    """A patient as the township registers one; `phonetic` is pinyin, family name first."""

    patient_id: str
    name: str
    phonetic: str
    sex: str
    birth_date: date
    national_id: str | None = None


@dataclass(frozen=True)
class Words:
    """What the county's reader writes, where the demo begins with a signed report."""

    findings: str
    impression: str
    positive: bool = True


@dataclass(frozen=True)
class Case:
    """One order and how it is carried out.

    `phantom` is a word of the repertoire, "" for an order that nobody performs. `after` names a case that
    must have settled before this order is placed. `typed`: the operator types the patient in place of
    using the worklist, so that the study arrives without its order.
    """

    key: str
    patient: Person
    device: str
    phantom: str
    body_part: str
    clinical_information: str
    priority: str = "routine"
    pathway: str | None = None
    findings: tuple[str, ...] = ()
    days_ago: float = 0
    seed: int = 0
    report: Words | None = None
    after: str = ""
    typed: bool = False
    description: str = ""

    @property
    def institution(self) -> str:
        return county.devices()[self.device].institution

    @property
    def modality(self) -> str:
        return county.devices()[self.device].modality


def national_id(birth_date: date, sex: str, number: int) -> str:
    """A well-formed resident identity number (GB 11643) of nobody."""
    serial = number % 499 * 2 + (1 if sex == "M" else 0)
    digits = f"{_DIVISION}{birth_date:%Y%m%d}{serial:03d}"
    total = sum(int(digit) * weight for digit, weight in zip(digits, _WEIGHTS, strict=True))
    return digits + _CHECKS[total % 11]


def _who(
    patient_id: str, name: str, phonetic: str, sex: str, born: tuple[int, int, int], *, known: int = 0
) -> Person:
    birth_date = date(*born)
    number = national_id(birth_date, sex, known) if known else None
    return Person(patient_id, name, phonetic, sex, birth_date, number)


_WANG = _who("100231", "王建国", "Wang Jianguo", "M", (1959, 3, 12), known=17)
_ZHAO_AT_T03 = _who("300518", "赵德明", "Zhao Deming", "M", (1957, 8, 30), known=41)
_ZHAO_AT_T01 = replace(_ZHAO_AT_T03, patient_id="100877")
_CHEST_PRIOR = Words(
    "双侧胸廓对称，右肺上叶见一类圆形实性结节，直径约11mm，边界清，周围见少许毛刺。双肺上叶散在小叶中心型低密度影。"
    "气管、支气管通畅，纵隔内未见肿大淋巴结。双侧胸腔未见积液。",
    "1. 右肺上叶实性结节，直径约11mm，建议3个月复查胸部CT。\n2. 双肺轻度肺气肿。",
)
_ECG_NORMAL = Words(
    "窦性心律，心率72次/分，PR间期160ms，QRS时限92ms，QT间期390ms，电轴45°。", "正常心电图。", positive=False
)

# The quick ones first, so that the lists live while the first thorax is still being drawn.
OPENING = (
    Case("ecg-stemi", _who("100902", "刘志强", "Liu Zhiqiang", "M", (1968, 5, 21), known=63), "T01_ECG", "ecg",
         "HEART", "突发胸骨后压榨样疼痛1小时，伴大汗、恶心，含服硝酸甘油不缓解。既往高血压10年，吸烟30年。",
         priority="stat", pathway="chest_pain", findings=("inferior-stemi",), seed=11),
    Case("ecg-normal", _who("200114", "孙丽华", "Sun Lihua", "F", (1983, 11, 2)), "T02_ECG", "ecg", "HEART",
         "心悸1周，情绪紧张时明显，无胸痛。", seed=12, report=_ECG_NORMAL),
    Case("dr-cough", _who("100644", "张伟", "Zhang Wei", "M", (1991, 7, 9)), "T01_DR", "chest-dx", "CHEST",
         "发热、咳嗽3天，体温38.6℃，右下肺可闻及湿啰音。", priority="urgent",
         findings=("pneumonia(x=-78,z=36,size=34)",), seed=14),
    Case("ecg-af", _who("400233", "吴桂英", "Wu Guiying", "F", (1948, 2, 14), known=88), "T04_ECG", "ecg",
         "HEART", "反复心悸半年，加重伴气促2天。既往高血压、脑梗死。", priority="urgent",
         findings=("atrial-fibrillation",), seed=15),
    Case("us-gallbladder", _who("600071", "郑秀兰", "Zheng Xiulan", "F", (1975, 4, 18)), "T06_US",
         "abdomen-us", "ABDOMEN", "右上腹隐痛1月，进食油腻后加重。", findings=("gallstone",), seed=16),
    Case("ct-prior", _WANG, "T01_CT", "thick-thorax", "CHEST", "吸烟40年，体检胸片示右上肺结节，进一步检查。",
         days_ago=96, seed=100, findings=("emphysema", "nodule(x=-78,y=12,z=132,diameter=11)"),
         report=_CHEST_PRIOR),
    Case("ecg-lvh", _who("500309", "周玉梅", "Zhou Yumei", "F", (1961, 9, 27)), "T05_ECG", "ecg", "HEART",
         "高血压病史20年，血压控制不佳，活动后气短。", findings=("left-ventricular-hypertrophy",), seed=17),
    Case("cr-elder", _who("400187", "陈国华", "Chen Guohua", "M", (1946, 12, 5)), "T04_CR", "chest-cr", "CHEST",
         "慢性咳嗽、咳痰10余年，近期加重。", findings=("bronchitis",), seed=18),
    Case("ct-smoker", _WANG, "T01_CT", "thorax", "CHEST",
         "吸烟40年（每日20支），咳嗽、痰中带血2周。3个月前CT示右上肺结节，复查。", priority="urgent",
         findings=("emphysema", "nodule(x=-78,y=12,z=132,diameter=18)"), seed=100),
    Case("ecg-brady", _who("600118", "何建军", "He Jianjun", "M", (1978, 6, 30)), "T06_ECG", "ecg", "HEART",
         "头晕、乏力1月，长期参加马拉松训练。", findings=("bradycardia",), seed=19),
    Case("ct-trauma", _who("300611", "马小军", "Ma Xiaojun", "M", (1985, 1, 23)), "T03_CT", "thorax", "CHEST",
         "骑摩托车摔伤2小时，左侧胸痛、呼吸困难，左胸壁压痛。", priority="stat", pathway="trauma",
         findings=("rib-fracture(x=126,y=20,z=60)", "effusion(side=L,depth=30)"), seed=102),
    Case("dr-without-order", _who("200356", "周桂香", "Zhou Guixiang", "F", (1954, 10, 8)), "T02_DR",
         "chest-dx", "CHEST", "咳嗽2月，消瘦。", findings=("nodule(x=82,z=110,diameter=26)",), seed=20,
         typed=True),
    Case("mr-stroke", _who("C20881", "黄永福", "Huang Yongfu", "M", (1952, 3, 3), known=120), "C01_MR",
         "brain-mr", "BRAIN", "突发右侧肢体无力、言语不清5小时。高血压、糖尿病史。", priority="urgent",
         pathway="stroke", findings=("infarct",), seed=21),
    Case("us-heart", _who("300702", "林淑芬", "Lin Shufen", "F", (1957, 5, 16)), "T03_US", "heart-cine", "HEART",
         "活动后气促半年，心尖部可闻及收缩期杂音。", seed=22, description="超声心动图"),
    Case("mg-screening", _who("300455", "杨秋菊", "Yang Qiuju", "F", (1973, 9, 9)), "T03_MG", "mammogram",
         "BREAST", "两癌筛查，左乳外上象限扪及硬结。", pathway="screening", findings=("mass",), seed=23),
    Case("cr-leg", _who("500412", "罗文", "Luo Wen", "M", (1999, 8, 1)), "T05_CR", "leg-cr", "LEG",
         "打篮球扭伤右小腿，肿胀、压痛。", priority="urgent", pathway="trauma", seed=24,
         description="右胫腓骨正位"),
    Case("ct-recognised", _ZHAO_AT_T03, "T03_CT", "thorax", "CHEST", "咳嗽、胸闷1周，既往陈旧性肺结核。",
         days_ago=6, findings=("nodule(x=70,y=30,z=150,diameter=9)",), seed=104),
    Case("dr-normal", _who("300733", "曾晓燕", "Zeng Xiaoyan", "F", (2001, 6, 12)), "T03_DR", "chest-dx", "CHEST",
         "入职体检。", seed=26),
    Case("ecg-block", _who("100955", "冯德胜", "Feng Desheng", "M", (1955, 4, 4)), "T01_ECG", "ecg", "HEART",
         "术前检查，拟行腹股沟疝修补术。", findings=("first-degree-block",), seed=27),
    Case("ct-repeat", _ZHAO_AT_T01, "T01_CT", "", "CHEST", "胸闷、咳嗽加重，转来我院就诊。自述近期在石桥做过CT。",
         after="ct-recognised"),
)  # fmt: skip

# What keeps coming: how often, device, phantom, body part, priority, pathway, findings, complaints.
_Findings = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Habit:
    """A kind of exam that a device does again and again."""

    weight: int
    devices: tuple[str, ...]
    phantom: str
    body_part: str
    choices: tuple[
        tuple[tuple[str, ...], str, str, str | None], ...
    ]  # findings, complaint, priority, pathway
    ages: tuple[int, int] = (18, 86)
    sex: str = ""
    description: str = ""


HABITS = (
    Habit(40, ("T01_ECG", "T02_ECG", "T03_ECG", "T04_ECG", "T05_ECG", "T06_ECG"), "ecg", "HEART", (
        ((), "体检。", "routine", None),
        ((), "胸闷、心悸1周。", "routine", None),
        (("bradycardia",), "头晕、乏力。", "routine", None),
        (("tachycardia",), "发热伴心慌2天。", "routine", None),
        (("first-degree-block",), "高血压复诊。", "routine", None),
        (("atrial-fibrillation",), "心悸、气短3天，既往房颤。", "urgent", None),
        (("left-ventricular-hypertrophy",), "高血压15年，活动后气短。", "routine", None),
        (("inferior-stemi",), "胸痛40分钟，大汗。", "stat", "chest_pain"),
    )),
    Habit(20, ("T01_DR", "T02_DR", "T03_DR"), "chest-dx", "CHEST", (
        ((), "体检。", "routine", None),
        ((), "咳嗽1周。", "routine", None),
        (("bronchitis",), "慢性咳嗽、咳痰10年。", "routine", None),
        (("pneumonia(x=-78,z=36,size=30)",), "发热、咳嗽、右侧胸痛3天。", "urgent", None),
        (("pneumonia(x=84,z=60,size=26)",), "发热、咳黄痰5天。", "routine", None),
        (("effusion(side=L,height=60)",), "胸闷、气促2周。", "urgent", None),
        (("nodule(x=-70,z=128,diameter=22)",), "体检发现肺部阴影，复查。", "routine", None),
    )),
    Habit(12, ("T04_CR", "T05_CR"), "chest-cr", "CHEST", (
        ((), "体检。", "routine", None),
        (("bronchitis",), "咳嗽、咳痰半月。", "routine", None),
        (("pneumonia(x=80,z=40,size=28)",), "发热、咳嗽4天。", "routine", None),
    )),
    Habit(14, ("T01_US", "T02_US", "T04_US", "T05_US", "T06_US"), "abdomen-us", "ABDOMEN", (
        ((), "体检。", "routine", None),
        (("gallstone",), "右上腹胀痛，进油腻食物后加重。", "routine", None),
        (("cyst",), "体检发现肝囊肿，复查。", "routine", None),
    )),
    Habit(5, ("T01_CT", "T03_CT"), "thorax", "CHEST", (
        (("emphysema", "nodule(x=-78,y=12,z=132,diameter=14)"), "吸烟30年，咳嗽2周。", "routine", None),
        (("pneumonia(x=-72,y=40,z=40,size=36)",), "发热、咳嗽1周，胸片示右下肺炎症。", "routine", None),
        (("effusion(side=R,depth=40)",), "胸闷、气促10天。", "urgent", None),
        (("rib-fracture(x=126,y=20,z=60)",), "摔伤后左侧胸痛1天。", "urgent", "trauma"),
        ((), "反复咳嗽1月。", "routine", None),
    )),
    Habit(2, ("C01_MR",), "brain-mr", "BRAIN", (
        (("infarct",), "突发一侧肢体无力8小时。", "urgent", "stroke"),
        ((), "头痛1月。", "routine", None),
    )),
    Habit(3, ("C01_MG", "T03_MG"), "mammogram", "BREAST", (
        ((), "两癌筛查。", "routine", "screening"),
        (("mass",), "左乳肿块2月。", "routine", None),
    ), ages=(38, 70), sex="F"),
    Habit(2, ("T03_US",), "heart-us", "HEART", (
        ((), "高血压，心脏杂音待查。", "routine", None),
    ), description="超声心动图"),
    Habit(2, ("C01_MR",), "shoulder-mr", "SHOULDER", (
        ((), "右肩疼痛、活动受限3月。", "routine", None),
    ), description="右肩关节MR平扫"),
)  # fmt: skip

_FAMILY = (
    ("李", "Li"), ("王", "Wang"), ("张", "Zhang"), ("刘", "Liu"), ("陈", "Chen"), ("杨", "Yang"), ("赵", "Zhao"),
    ("黄", "Huang"), ("周", "Zhou"), ("吴", "Wu"), ("徐", "Xu"), ("孙", "Sun"), ("胡", "Hu"), ("朱", "Zhu"),
    ("高", "Gao"), ("林", "Lin"), ("何", "He"), ("郭", "Guo"), ("马", "Ma"), ("罗", "Luo"), ("欧阳", "Ouyang"),
    ("覃", "Qin"), ("佘", "She"), ("冼", "Xian"),
)  # fmt: skip
_GIVEN = {
    "M": (
        ("建华", "Jianhua"), ("国强", "Guoqiang"), ("志明", "Zhiming"), ("大勇", "Dayong"), ("文斌", "Wenbin"),
        ("德福", "Defu"), ("永康", "Yongkang"), ("浩然", "Haoran"), ("子轩", "Zixuan"), ("海涛", "Haitao"),
        ("鑫", "Xin"), ("喆", "Zhe"), ("长林", "Changlin"), ("世昌", "Shichang"),
    ),
    "F": (
        ("秀英", "Xiuying"), ("桂兰", "Guilan"), ("玉珍", "Yuzhen"), ("丽娟", "Lijuan"), ("雪梅", "Xuemei"),
        ("小红", "Xiaohong"), ("雅婷", "Yating"), ("春燕", "Chunyan"), ("凤霞", "Fengxia"), ("婧", "Jing"),
        ("淼", "Miao"), ("思琪", "Siqi"), ("翠花", "Cuihua"), ("腊梅", "Lamei"),
    ),
}  # fmt: skip


def later_case(number: int, *, today: date) -> Case:
    """The case of that number after the opening: the same for the same number and day."""
    dice = random.Random(f"yunling {number}")
    habit = dice.choices(HABITS, [one.weight for one in HABITS])[0]
    device = dice.choice(habit.devices)
    findings, complaint, priority, pathway = dice.choice(habit.choices)
    sex = habit.sex or dice.choice("MF")
    family, given = dice.choice(_FAMILY), dice.choice(_GIVEN[sex])
    born = date(today.year - dice.randint(*habit.ages), dice.randint(1, 12), dice.randint(1, 28))
    institution = county.devices()[device].institution
    return Case(
        key=f"later-{number}",
        patient=Person(
            f"{institution[1:]}{700000 + number}",
            family[0] + given[0],
            f"{family[1]} {given[1]}",
            sex,
            born,
            national_id(born, sex, 200 + number) if dice.random() < 0.6 else None,
        ),
        device=device,
        phantom=habit.phantom,
        body_part=habit.body_part,
        clinical_information=complaint,
        priority=priority,
        pathway=pathway,
        findings=findings,
        seed=1000 + number,
        description=habit.description,
    )
