"""Chinese in Latin letters, as a passport would have it."""

import pytest

from storage.romanisation import romanised, romanised_name


@pytest.mark.parametrize(
    ("name", "alphabetic"),
    [
        ("Zhang^San=张^三", "Zhang^San"),
        ("=张三", "ZHANG^SAN"),
        ("张^三", "ZHANG^SAN"),
        ("=欧阳修", "OUYANG^XIU"),
        ("=单雄信", "SHAN^XIONGXIN"),
        ("=欧阳", "OU^YANG"),
        ("王小东=王^小东", "WANG^XIAODONG"),
        ("=吕布", "LV^BU"),
        ("Müller^Jörg", "Muller^Jorg"),
        ("", ""),
    ],
)
def test_a_name_has_an_alphabetic_group(name, alphabetic):
    assert romanised_name(name) == alphabetic


def test_text_stays_readable():
    assert romanised("胸部CT平扫，右侧") == "xiong bu CT ping sao, you ce"
    assert romanised("Übung Ж") == "Ubung ?"
