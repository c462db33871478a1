"""The import engine, its runs and its pages, tried on organisations' phone numbers as the simplest record there is."""

from __future__ import annotations

import csv
import io

import pytest
import xlsxwriter
from django.core.files.base import ContentFile
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zhenan.kernel.errors import DomainError
from zhenan.kernel.imports import parse, services, specs
from zhenan.kernel.imports.commands import import_main
from zhenan.kernel.imports.models import ImportRow, ImportRun
from zhenan.kernel.imports.specs import ImportColumn, ImportSpec, Verdict, refused
from zhenan.kernel.imports.views import RunList
from zhenan.kernel.lists.contract import check_list_page
from zhenan.kernel.people.models import Organisation
from zhenan.kernel.territory.models import Division

pytestmark = pytest.mark.django_db


class PhoneSpec(ImportSpec):
    """Organisations by code, with name and phone."""

    code, label, capability = "test_phones", "Phones", "subject.import"
    columns = [
        ImportColumn("code", "Code", ("编号",), required=True, filled=True, parse=parse.text(60)),
        ImportColumn("name", "Name", ("名称",), required=True, filled=True, parse=parse.text(200)),
        ImportColumn("phone", "Phone", ("电话",), parse=parse.text(40)),
    ]

    def key_of(self, values):
        return values["code"]

    def judge(self, rows, context):
        known = Organisation.objects.in_bulk([r.values["code"] for r in rows], field_name="code")
        verdicts = []
        for row in rows:
            found, name = known.get(row.values["code"]), row.values["name"]
            phone = row.values.get("phone", "")
            if name == "forbidden":
                verdicts.append(refused("not this one", title=name))
            elif found is None:
                verdicts.append(Verdict("create", title=name))
            elif (found.name, found.phone) != (name, phone):
                verdicts.append(Verdict("update", title=name))
            else:
                verdicts.append(Verdict("unchanged", title=name))
        return verdicts

    def apply(self, judged, context):
        root = Division.objects.get(code="321100")
        for row, _verdict in judged:
            values = {
                "name": row.values["name"],
                "phone": row.values.get("phone", ""),
                "kind": "test",
                "division": root,
            }
            if row.values["name"] == "breaks":
                values["name"] = None
            Organisation.objects.update_or_create(code=row.values["code"], defaults=values)


SPEC = PhoneSpec()


def provider():
    return [SPEC]


@pytest.fixture(autouse=True)
def phones(city):
    specs.register(provider)
    yield
    specs.PROVIDERS.remove(provider)


def imported(data: bytes | str, *, name="phones.csv", write=True, actor=None, whole=False) -> ImportRun:
    raw = data.encode() if isinstance(data, str) else data
    run = services.receive(ContentFile(raw, name), name, SPEC, actor=actor, at=timezone.now(), whole=whole)
    run.state = run.State.APPLYING if write else run.State.JUDGING
    run.dry_run = not write
    run.save()
    return services.carry_out(run, at=timezone.now())


def reasons(run: ImportRun) -> dict[int, str]:
    return {row.line: row.text for row in run.judged_rows.filter(verdict="refuse")}


def test_rows_are_created_then_unchanged_then_updated():
    first = imported("编号,名称,电话\n1,甲,110\n2,乙,119\n")
    again = imported("编号,名称,电话\n1,甲,110\n2,乙,119\n")
    third = imported("编号,名称,电话\n1,甲,110\n2,乙,120\n")
    assert (first.count("created"), again.count("unchanged"), third.count("updated")) == (2, 2, 1)
    assert again.count("created") == again.count("updated") == 0
    assert Organisation.objects.get(code="2").phone == "120"


def test_a_dry_run_writes_nothing_and_keeps_every_verdict():
    run = imported("编号,名称\n1,甲\n2,forbidden\n", write=False)
    assert run.state == "judged"
    assert list(run.judged_rows.values_list("line", "verdict")) == [(2, "create"), (3, "refuse")]
    assert not Organisation.objects.filter(code="1").exists()


def test_the_second_row_with_a_key_is_refused_and_names_the_first():
    run = imported("编号,名称\n1,甲\n2,乙\n1,丙\n")
    assert run.counts["created"] == 2
    assert "row 2" in reasons(run)[4]


def test_a_wrong_header_is_one_clear_fault_with_the_nearest_names():
    run = imported("编码号,名字\n1,甲\n")
    assert run.state == "failed"
    assert "“编码号”" in run.error
    assert "“Code”" in run.error
    assert run.counts == {}


def test_a_misspelt_column_is_named_in_the_fault():
    run = imported("Cde,Name\n1,甲\n")
    assert "Is it “Cde”?" in run.error


def test_columns_that_are_not_read_are_said_except_that_of_the_reasons():
    run = imported("编号,名称,Phones,原因\n1,甲,1,x\n")
    assert run.count("created") == 1
    assert len(run.notes) == 1
    assert "“phone”" in run.notes[0]


def test_a_row_the_database_refuses_costs_only_itself():
    run = imported("编号,名称\n1,甲\n2,breaks\n3,丙\n")
    assert (run.count("created"), run.count("refused")) == (2, 1)
    assert "database refused" in reasons(run)[3]
    assert Organisation.objects.filter(code__in=["1", "3"]).count() == 2


def test_all_or_none_writes_nothing_when_a_row_is_refused():
    run = imported("编号,名称\n1,甲\n2,forbidden\n", whole=True)
    assert run.state == "failed"
    assert "nothing was written" in run.error
    assert not Organisation.objects.filter(code="1").exists()
    assert imported("编号,名称\n1,甲\n2,乙\n", whole=True).count("created") == 2


def test_raw_bytes_of_a_refused_row_are_kept():
    odd = "3,丹阳市另一家企业".encode("gb18030")
    run = imported("编号,名称\n1,镇江甲\n".encode() + odd + b"\n")
    row = run.judged_rows.get(verdict="refuse")
    assert (row.line, bytes(row.raw)) == (3, odd)


def test_a_workbook_reads_like_a_csv_whole_numbers_and_days_included():
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    sheet = book.add_worksheet("企业")
    for line, row in enumerate([["企业名单"], ["编号", "名称", "电话"], [321100, "甲", 8612], ["2", "乙"]]):
        sheet.write_row(line, 0, row)
    book.add_worksheet("说明").write(0, 0, "编号")
    book.close()
    run = imported(file.getvalue(), name="名单.xlsx")
    assert run.facts["kind"] == "workbook"
    assert run.count("created") == 2
    assert Organisation.objects.get(code="321100").phone == "8612"
    assert "sheet" in run.notes[0]


@given(data=st.binary(max_size=600))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_bytes_every_row_has_one_verdict_and_every_refusal_a_reason(data):
    run = imported(b"code,name\n1,a\n" + data)
    assert run.state in ("done", "failed")
    counts = run.counts
    if run.state == "done":
        assert counts["rows"] == counts["created"] + counts["updated"] + counts["unchanged"] + counts["refused"] >= 1
        assert run.judged_rows.filter(verdict="refuse").count() == counts["refused"]
        assert all(row.text for row in run.judged_rows.filter(verdict="refuse"))
    else:
        assert run.error


def test_only_those_with_the_right_may_import(personas):
    with pytest.raises(DomainError, match=r"subject\.import"):
        imported("编号,名称\n1,甲\n", actor=personas["grid_worker"])


# Pages


def upload(client, data: str, name="phones.csv", **more):
    file = ContentFile(data.encode(), name)
    return client.post(reverse("imports:upload"), {"spec": "test_phones", "file": file, **more}, follow=True)


def test_from_upload_over_dry_run_to_import_and_the_file_of_refused_rows(client, personas):
    client.force_login(personas["town_officer_here"])
    page = upload(client, "编号,名称\n1,甲\n2,forbidden\n")
    run = ImportRun.objects.get()
    assert run.state == "judged"
    assert "not this one" in page.content.decode()
    done = client.post(reverse("imports:confirm", args=[run.pk]), follow=True)
    run.refresh_from_db()
    assert (run.state, run.counts["created"], run.counts["refused"]) == ("done", 1, 1)
    assert reverse("imports:refused", args=[run.pk]) in done.content.decode()
    answer = client.get(reverse("imports:refused", args=[run.pk]))
    rows = list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
    assert rows[0][:2] == ["编号", "名称"]
    assert rows[1] == ["2", "forbidden", "not this one"]
    corrected = "\n".join(",".join(row) for row in rows).replace("forbidden", "乙")
    upload(client, corrected)
    assert ImportRun.objects.latest("pk").counts["created"] == 1


def test_a_dry_run_is_imported_once(client, personas):
    client.force_login(personas["town_officer_here"])
    upload(client, "编号,名称\n1,甲\n")
    url = reverse("imports:confirm", args=[ImportRun.objects.get().pk])
    assert client.post(url).status_code == 302
    assert client.post(url).status_code == 422


def test_an_import_is_seen_by_its_maker_and_by_those_who_see_the_system(client, personas):
    client.force_login(personas["town_officer_here"])
    upload(client, "编号,名称\n1,甲\n2,forbidden\n")
    run = ImportRun.objects.get()
    for name, status in (("city_officer", 200), ("town_officer_elsewhere", 404), ("grid_worker", 403)):
        client.force_login(personas[name])
        for view in ("run", "rows", "refused", "progress"):
            assert client.get(reverse(f"imports:{view}", args=[run.pk])).status_code == status
    client.force_login(personas["city_officer"])
    assert client.post(reverse("imports:confirm", args=[run.pk])).status_code == 422  # not the maker


def test_a_long_file_is_left_to_the_worker(client, personas):
    from procrastinate.contrib.django.models import ProcrastinateJob

    client.force_login(personas["town_officer_here"])
    rows = "\n".join(f"{n},企业{n}" for n in range(services.INLINE_ROWS + 1))
    page = upload(client, f"编号,名称\n{rows}\n")
    run = ImportRun.objects.get()
    assert run.state == "judging"
    assert "hx-get" in page.content.decode()
    job = ProcrastinateJob.objects.get(task_name="imports.carry_out")
    from zhenan.kernel.imports.tasks import carry_out_run

    carry_out_run.func(**job.args)
    run.refresh_from_db()
    assert (run.state, run.counts["rows"]) == ("judged", services.INLINE_ROWS + 1)


def test_the_list_of_imports_keeps_the_contract(client, personas):
    officer, other = personas["town_officer_here"], personas["town_officer_elsewhere"]

    def make(n: int) -> None:
        for i in range(n):
            imported(f"编号,名称\n{i},甲\n", actor=officer, write=False)

    check_list_page(
        client, RunList, reverse("imports:list"), users=[officer, other, personas["city_officer"]], make=make
    )


def test_the_command_prints_counts_and_first_refusals(tmp_path, capsys):
    path = tmp_path / "f.csv"
    path.write_text("编号,名称\n1,甲\n2,forbidden\n", "utf-8")
    assert import_main(["test_phones", str(path), "--json", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert '"created": 1' in out
    assert '"line": 3' in out
    assert not Organisation.objects.filter(code="1").exists()
    assert import_main(["test_phones", str(path)]) == 0
    assert Organisation.objects.filter(code="1").exists()


def test_the_command_names_the_nearest_type_and_a_missing_file(tmp_path, capsys):
    assert import_main(["test_fones", str(tmp_path)]) == 2
    assert "test_phones" in capsys.readouterr().err
    assert import_main(["test_phones", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err


def test_rows_of_a_run_are_unique_by_line():
    run = imported("编号,名称\n1,甲\n", write=False)
    assert ImportRow.objects.filter(run=run).count() == 1
