from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from deriva_ml.core.constants import get_domain_schemas, is_system_schema
from deriva_ml.core.enums import BuiltinTypes, MLVocab, Status, UploadState
from deriva_ml.core.ermrest import RID, ColumnDef, FileUploadState, ForeignKeyDef, VocabularyTerm


@pytest.mark.parametrize("rid", ["1", "1ZY", "1-ABCD", "36-1F1M-5D9P", "1-ABCD@2PM-DGYP-56Z4"])
def test_a_rid_is_taken(rid: str) -> None:
    assert TypeAdapter(RID).validate_python(rid) == rid


@pytest.mark.parametrize("rid", ["", "abcd", "12345", "1-ABC", "1-ABCD@", "1 2"])
def test_what_is_no_rid_is_refused(rid: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(RID).validate_python(rid)


def test_an_enum_member_is_its_text() -> None:
    assert Status.completed == "Completed"
    assert {MLVocab.dataset_type: 1}["Dataset_Type"] == 1
    assert f"{Status.failed}" == "Failed"


def test_an_array_column_s_document_names_its_element() -> None:
    document = ColumnDef("Tags", BuiltinTypes.text_array).to_dict()
    assert document["type"] == {"typename": "text[]", "is_array": True, "base_type": {"typename": "text"}}


def test_a_foreign_key_s_document_pairs_its_columns() -> None:
    document = ForeignKeyDef(["Subject"], "s", "Subject").to_dict("s", "Image")
    assert document["foreign_key_columns"] == [{"schema_name": "s", "table_name": "Image", "column_name": "Subject"}]
    assert document["referenced_columns"] == [{"schema_name": "s", "table_name": "Subject", "column_name": "RID"}]


def test_a_term_is_read_in_either_letter_case() -> None:
    upper = VocabularyTerm.model_validate({"Name": "a", "Synonyms": None, "RID": "1", "Extra": 1})
    lower = VocabularyTerm.model_validate({"name": "a", "synonyms": [], "rid": "1"})
    assert (upper.name, upper.synonyms, upper.rid) == (lower.name, lower.synonyms, lower.rid) == ("a", (), "1")


def test_an_upload_s_rid_is_its_row_s() -> None:
    assert FileUploadState(state=UploadState.success, result={"RID": "1"}).rid == "1"
    assert FileUploadState(state=UploadState.failed).rid is None


def test_the_platform_s_schemas_are_not_the_project_s() -> None:
    assert is_system_schema("WWW")
    assert get_domain_schemas(["public", "www", "deriva-ml", "eye"]) == {"eye"}
