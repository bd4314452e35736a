"""Templates and macros of a reader and of the department: look, write, bring in and take away (MRRT)."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, File, Form
from fastapi.responses import Response
from pydantic import BaseModel

from reading_portal.dependencies import requires
from reading_portal.mrrt import LARGEST, read_mrrt, write_mrrt
from reading_portal.pages.orders import BODY_PARTS
from reading_portal.pages.visit import Acting, Looking, Visit
from worklist.people import Role
from worklist.problems import LostRace, Missing, Problem
from worklist.report_macros import add_macro, discard_macro, macros_of
from worklist.report_templates import (
    Shelf,
    TemplateWords,
    add_template,
    centre_templates,
    change_template,
    discard_template,
    find_template,
    may_change,
    templates_of,
    words_of,
)
from worklist.staff import READABLE

router = APIRouter(prefix="/templates", dependencies=[Depends(requires(Role.READER, Role.REVIEWER))])


class TemplateForm(BaseModel):
    """The form as it was sent; what makes no sense comes back with its mistake."""

    shelf: Shelf = Shelf.OWN
    name: str = ""
    modalities: list[str] = []
    parts: list[str] = []
    findings: str = ""
    impression: str = ""
    recommendation: str = ""
    is_normal: bool = False
    version: int = 0

    @property
    def words(self) -> TemplateWords:
        return TemplateWords(
            name=self.name,
            modalities=tuple(one for one in self.modalities if one in READABLE),
            parts=tuple(self.parts),
            findings=_lines(self.findings),
            impression=_lines(self.impression),
            recommendation=_lines(self.recommendation),
            is_normal=self.is_normal,
        )


@router.get("")
def show_templates(visit: Looking) -> Response:
    return _shelves(visit)


@router.get("/new")
def show_new(visit: Looking, like: str = "") -> Response:
    """An empty form, or one with the words of a template that the product brings."""
    found = next((one for one in centre_templates(visit.policy.language) if one.code == like), None)
    return _form(visit, _shown(found.words) if found else TemplateForm())


@router.post("/new")
def add(visit: Acting, form: Annotated[TemplateForm, Form()]) -> Response:
    try:
        add_template(visit.session, form.words, shelf=form.shelf, by=visit.who, now=visit.now)
    except Problem as error:
        visit.undo()
        return _form(visit, form, problem=visit.words.problem(str(error)), status=422)
    return visit.go("/templates?said=template-kept")


@router.post("/import")
def bring_in(visit: Looking, file: Annotated[bytes, File(max_length=LARGEST + 1)]) -> Response:
    """What the file says, in the form; it is kept when the reader says so."""
    try:
        imported = read_mrrt(file)
    except Problem as error:
        return _shelves(visit, import_problem=visit.words.problem(str(error)), status=422)
    return _form(visit, _shown(imported.words), left_out=imported.left_out)


@router.post("/macros")
def add_abbreviation(
    visit: Acting,
    abbreviation: Annotated[str, Form(max_length=64)],
    text: Annotated[str, Form(max_length=20_000)],
    shelf: Annotated[Shelf, Form()] = Shelf.OWN,
) -> Response:
    try:
        add_macro(visit.session, abbreviation, _lines(text), shelf=shelf, by=visit.who)
    except Problem as error:
        visit.undo()
        problem = visit.words.problem(str(error))
        typed = {"abbreviation": abbreviation, "text": text, "shelf": shelf.value}
        return _shelves(visit, macro_problem=problem, typed=typed, status=422)
    return visit.go("/templates?said=macro-kept#macros")


@router.post("/macros/{macro_id}/discard")
def discard_abbreviation(visit: Acting, macro_id: int) -> Response:
    discard_macro(visit.session, macro_id, by=visit.who)
    return visit.go("/templates?said=macro-discarded#macros")


@router.get("/{template_id}")
def show_template(visit: Looking, template_id: int) -> Response:
    row = find_template(visit.session, visit.who, template_id)
    form = _shown(words_of(row)).model_copy(update={"shelf": row.shelf, "version": row.version})
    return _form(visit, form, template_id=template_id)


@router.post("/{template_id}")
def change(visit: Acting, template_id: int, form: Annotated[TemplateForm, Form()]) -> Response:
    try:
        change_template(
            visit.session, template_id, form.words, seen=form.version, by=visit.who, now=visit.now
        )
    except Missing:
        raise
    except Problem as error:
        visit.undo()
        status = 409 if isinstance(error, LostRace) else 422
        form.shelf = find_template(visit.session, visit.who, template_id).shelf
        problem = visit.words.problem(str(error))
        return _form(visit, form, template_id=template_id, problem=problem, status=status)
    return visit.go("/templates?said=template-kept")


@router.post("/{template_id}/discard")
def discard(visit: Acting, template_id: int, version: Annotated[int, Form()]) -> Response:
    discard_template(visit.session, template_id, seen=version, by=visit.who)
    return visit.go("/templates?said=template-discarded")


@router.get("/{template_id}/mrrt")
def take_away(visit: Looking, template_id: int) -> Response:
    """As a file that other systems read."""
    words = words_of(find_template(visit.session, visit.who, template_id))
    identifier = f"urn:reading-center:{visit.who.institution_code}:template:{template_id}"
    html = write_mrrt(
        words, identifier=identifier, language=visit.policy.language, publisher=visit.policy.center_name
    )
    # Never shown as a page of this portal: whatever stands in it is only ever a file.
    name = f"attachment; filename=\"template-{template_id}.html\"; filename*=UTF-8''{quote(words.name)}.html"
    return Response(html, media_type="application/octet-stream", headers={"Content-Disposition": name})


def _shelves(
    visit: Visit,
    *,
    import_problem: str = "",
    macro_problem: str = "",
    typed: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    return visit.page(
        "templates.html",
        status=status,
        rows=templates_of(visit.session, visit.who),
        brought=centre_templates(visit.policy.language),
        macros=macros_of(visit.session, visit.who),
        shelves=_changeable(visit),
        import_problem=import_problem,
        macro_problem=macro_problem,
        typed=typed or {"abbreviation": "", "text": "", "shelf": Shelf.OWN.value},
    )


def _form(
    visit: Visit,
    form: TemplateForm,
    *,
    template_id: int | None = None,
    left_out: tuple[str, ...] = (),
    problem: str = "",
    status: int = 200,
) -> Response:
    parts = {part for some in BODY_PARTS.values() for part in some} | set(form.parts)
    return visit.page(
        "template.html",
        status=status,
        form=form,
        template_id=template_id,
        may_keep=template_id is None or form.shelf in _changeable(visit),
        shelves=_changeable(visit),
        readable=READABLE,
        parts=sorted(parts, key=lambda part: visit.words.body_part(part)),
        left_out=left_out,
        problem=problem,
    )


def _changeable(visit: Visit) -> list[Shelf]:
    return [shelf for shelf in Shelf if may_change(visit.who, shelf)]


def _shown(words: TemplateWords) -> TemplateForm:
    return TemplateForm(
        name=words.name,
        modalities=list(words.modalities),
        parts=list(words.parts),
        findings=words.findings,
        impression=words.impression,
        recommendation=words.recommendation,
        is_normal=words.is_normal,
    )


def _lines(text: str) -> str:
    """A browser sends CR LF."""
    return text.replace("\r\n", "\n")
