"""The values of a feature as Python objects: one class for each feature, made from the catalog's model.

A class checks what it is given when a record is made: the field names, their types, and that a term is in its
vocabulary (a synonym is replaced by the term's name). Rows that were read from the catalog are not checked again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.core.files import nearest
from deriva_ml.core.json_types import Json
from deriva_ml.feature import select
from deriva_ml.feature.field_types import field_definition, field_type, safe_name, stored_value
from deriva_ml.feature.shape import EXECUTION, FEATURE_NAME, FeatureShape
from deriva_ml.wire.model import Column, Table

__all__ = ["FeatureRecord", "Terms", "record_class"]

TermReader = Callable[[Table], Mapping[str, str]]
"""Gives the terms of a vocabulary: the preferred name of every name and synonym."""


class Terms:
    """The terms of one vocabulary, read when the first value is checked.

    While the catalog cannot be reached, what is not known is taken as it is: the catalog itself refuses what is no term
    when the value is stored.

    Args:
        vocabulary: The vocabulary's name.
        read: Reads the preferred name of every name and synonym.
    """

    def __init__(self, vocabulary: str, read: Callable[[], Mapping[str, str]]) -> None:
        self.vocabulary = vocabulary
        self._read = read
        self._known: Mapping[str, str] | None = None

    def preferred(self, value: str) -> str:
        """The preferred name of a term.

        Raises:
            PydanticCustomError: There is no such term, not even now: the vocabulary is read again before that is said.
        """
        if self._known is None or value not in self._known:
            try:
                self._known = self._read()
            except DerivaMLUnreachable:
                return (self._known or {}).get(value, value)
        if value not in self._known:
            raise PydanticCustomError(
                "unknown_term",
                "{value} is not a term of vocabulary {vocabulary}; allowed: {allowed}",
                {
                    "value": repr(value),
                    "vocabulary": self.vocabulary,
                    "allowed": ", ".join(nearest(value, self._known.values())) or "none, the vocabulary is empty",
                },
            )
        return self._known[value]


class FeatureRecord(BaseModel):
    """One value of a feature: what an execution says about one record.

    The classes of actual features (:func:`record_class`) add the column of the record and those of the values.

    Attributes:
        Execution: RID of the execution; set when the record is added in one.
        Feature_Name: The feature.
        RCT: When the value was stored; None for one that is not stored yet.
    """

    model_config = ConfigDict(
        extra="forbid", protected_namespaces=(), populate_by_name=True, ignored_types=(), validate_assignment=True
    )

    Execution: str | None = None
    Feature_Name: str
    RCT: str | None = None

    feature: ClassVar[FeatureShape | None] = None
    column_fields: ClassVar[Mapping[str, str]] = {}
    """Field by column: a column whose name cannot be a field's has a field of another name."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, given: Any) -> Any:
        """Say of a name that is no field which there are."""
        if not isinstance(given, Mapping):
            return given
        columns = {field: column for column, field in cls.column_fields.items()}
        known = {columns.get(name, name) for name in cls.model_fields}
        unknown = [name for name in given if name not in known and name not in cls.model_fields]
        if unknown:
            raise ValidationError.from_exception_data(
                cls.__name__, [_no_field(cls.__name__, str(name), given[name], known) for name in unknown]
            )
        return given

    @classmethod
    def of_feature(cls) -> FeatureShape:
        """The feature that the records are of."""
        if cls.feature is None:
            raise TypeError(f"{cls.__name__} is not the class of a feature; ml.feature_record_class makes one")
        return cls.feature

    @classmethod
    def feature_columns(cls) -> frozenset[Column]:
        """The columns that hold the values."""
        return cls.of_feature().feature_columns

    @classmethod
    def asset_columns(cls) -> frozenset[Column]:
        """The values that are references to assets."""
        return cls.of_feature().asset_columns

    @classmethod
    def term_columns(cls) -> frozenset[Column]:
        """The values that are terms of a vocabulary."""
        return cls.of_feature().term_columns

    @classmethod
    def value_columns(cls) -> frozenset[Column]:
        """The other values."""
        return cls.of_feature().value_columns

    @property
    def target_rid(self) -> str:
        """RID of the record that the value describes."""
        return str(self.column_value(self.of_feature().target_column))

    def column_value(self, column: str) -> Any:
        """The value in a column, by the column's own name."""
        return getattr(self, type(self).column_fields.get(column, column))

    def to_row(self) -> dict[str, Any]:
        """The record as a row of the feature table; an asset may still be a path."""
        shape = self.of_feature()
        row: dict[str, Any] = {
            EXECUTION: self.Execution,
            FEATURE_NAME: self.Feature_Name,
            shape.target_column: self.target_rid,
        }
        for column in shape.feature_columns:
            row[column.name] = stored_value(self.column_value(column.name))
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Json]) -> Self:
        """The record of a row of the feature table, taken as it is."""
        shape = cls.of_feature()
        names = (EXECUTION, FEATURE_NAME, shape.target_column, *(column.name for column in shape.feature_columns))
        values: dict[str, Any] = {cls.column_fields.get(name, name): row.get(name) for name in names}
        values[FEATURE_NAME] = values[FEATURE_NAME] or shape.feature_name
        for column in shape.value_columns:
            field = cls.column_fields.get(column.name, column.name)
            if column.type.name.startswith(("float", "numeric")) and isinstance(values[field], str):
                values[field] = float(values[field])
        return cls.model_construct(**values, RCT=row.get("RCT"))

    @staticmethod
    def select_newest(records: Sequence[FeatureRecord]) -> FeatureRecord:
        """The record that was stored last."""
        return select.newest(records)

    @staticmethod
    def select_latest(records: Sequence[FeatureRecord]) -> FeatureRecord:
        """The record that was stored last."""
        return select.newest(records)

    @staticmethod
    def select_first(records: Sequence[FeatureRecord]) -> FeatureRecord:
        """The record that was stored first."""
        return select.first(records)

    @staticmethod
    def select_by_execution(execution_rid: str) -> select.Chooser:
        """A selector of the record that an execution made; see :func:`deriva_ml.feature.select.by_execution`."""
        return select.by_execution(execution_rid)

    @classmethod
    def select_majority_vote(cls, column: str | None = None) -> select.Chooser:
        """A selector of the most frequent value; see :func:`deriva_ml.feature.select.majority_vote`."""
        return select.majority_vote(column)


def _no_field(record: str, name: str, value: Any, known: Collection[str]) -> InitErrorDetails:
    error = PydanticCustomError(
        "extra_forbidden",
        "{record} has no field {name}; allowed: {allowed}",
        {"record": record, "name": name, "allowed": ", ".join(nearest(name, known))},
    )
    return InitErrorDetails(type=error, loc=(name,), input=value)


def _own_name(shape: FeatureShape) -> Callable[[str], str]:
    """Refuses the name of another feature: the values would be stored as values of that one."""

    def check(name: str) -> str:
        if name != shape.feature_name:
            raise PydanticCustomError(
                "other_feature",
                "{name} is not the feature of these records; allowed: {feature}",
                {"name": repr(name), "feature": shape.feature_name},
            )
        return name

    return check


def _kind(shape: FeatureShape, column: Column, terms: Mapping[str, Terms]) -> Any:
    if column in shape.asset_columns:
        return str | PurePath
    if column.name in terms:
        return Annotated[str, AfterValidator(terms[column.name].preferred)]
    return field_type(column.type)


def _terms(shape: FeatureShape, read_terms: TermReader | None) -> dict[str, Terms]:
    """The vocabulary of each term column; columns of one vocabulary share it."""
    if read_terms is None:
        return {}
    reader = read_terms
    by_table: dict[tuple[str, str], Terms] = {}
    found: dict[str, Terms] = {}
    for column in shape.term_columns:
        vocabulary = shape.referenced(column)
        assert vocabulary is not None
        if vocabulary.qualified not in by_table:
            by_table[vocabulary.qualified] = Terms(vocabulary.name, lambda table=vocabulary: reader(table))  # type: ignore[misc]
        found[column.name] = by_table[vocabulary.qualified]
    return found


def record_class(shape: FeatureShape, read_terms: TermReader | None = None) -> type[FeatureRecord]:
    """The class of a feature's records.

    Args:
        shape: The feature.
        read_terms: Reads the terms of a vocabulary, for the check of term columns; without it they are not checked.
    """
    terms = _terms(shape, read_terms)
    fields: dict[str, Any] = {
        FEATURE_NAME: (Annotated[str, AfterValidator(_own_name(shape))], Field(default=shape.feature_name))
    }
    renamed: dict[str, str] = {}
    columns = [column for column in shape.feature_table.user_columns if column in shape.feature_columns]
    target = next(c for c in shape.feature_table.user_columns if c.name == shape.target_column)
    for column in (target, *columns):
        name = safe_name(column.name, FeatureRecord)
        alias = None if name == column.name else column.name
        if alias is not None:
            renamed[column.name] = name
        if column is target:  # a value of nothing is no value, whatever the table allows
            fields[name] = (str, Field(alias=alias))
        else:
            fields[name] = field_definition(column, _kind(shape, column, terms), alias)
    made = create_model(
        f"{shape.target_table.name}Feature{shape.feature_name}",
        __base__=FeatureRecord,
        __module__=__name__,
        __doc__=f"A value of feature {shape.feature_name} of {shape.target_table.name}.",
        **fields,
    )
    made.feature = shape
    made.column_fields = renamed
    return made
