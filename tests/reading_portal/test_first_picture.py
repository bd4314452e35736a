"""What a page fetches beforehand, so that the first picture and the first image come soon."""

import pytest

from reading_portal.pages.first_picture import bundle
from reading_portal.static_files import STATIC
from tests.reading_portal.conftest import Portal

pytestmark = pytest.mark.skipif(not bundle("image").script, reason="the viewer's bundle has not been built")


def test_the_image_viewer_names_its_workers_and_the_decoder_of_what_we_serve() -> None:
    parts = bundle("image").everything

    assert any("first_frame_worker" in part for part in parts)
    assert any("decodeImageFrameWorker" in part for part in parts)
    assert any("openjph" in part and part.endswith(".wasm") for part in parts)
    for part in parts:
        assert (STATIC / part.removeprefix("/static/")).is_file(), part


def test_the_ecg_needs_no_decoder_of_images() -> None:
    assert bundle("ecg").soon == ()


def test_the_worklist_fetches_the_viewer_while_the_reader_looks_at_it(quick_portal: Portal) -> None:
    chen, _ = quick_portal.browser("chen")

    page = chen.get("/worklist").text

    for part in bundle("image").everything:
        assert f'<link rel="prefetch" href="{part}">' in page


def test_the_first_picture_asks_for_its_connection_before_any_script(quick_portal: Portal) -> None:
    exam = quick_portal.an_exam()
    chen, _ = quick_portal.browser("chen")

    page = chen.get(f"/reading/{exam.task_id}").text

    assert page.index('rel="preload" as="image"') < page.index('rel="modulepreload"')


def test_the_viewers_code_is_fetched_at_once_but_compiled_after_the_first_picture(
    quick_portal: Portal,
) -> None:
    exam = quick_portal.an_exam()
    chen, _ = quick_portal.browser("chen")

    page = chen.get(f"/reading/{exam.task_id}").text

    for part in bundle("image").late:
        assert f'<link rel="preload" as="script" href="{part}" crossorigin>' in page
        assert f'<link rel="modulepreload" href="{part}">' not in page
