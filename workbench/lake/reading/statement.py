"""Checks that a user's SQL is one SELECT, in DuckDB's own parse tree, before it runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import duckdb

from workbench.errors import QueryError
from workbench.lake.reading.event_filter import quoted

Node = dict[str, Any]
"""A node of the parse tree, as ``json_serialize_sql`` writes it."""

_QUERIES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_READERS = {
    "generate_series", "glob", "histogram", "histogram_values", "icu_calendar_names", "json_each", "json_tree", "pg_timezone_names",
    "query_table", "range", "repeat", "repeat_row", "sniff_csv", "summary", "test_all_types", "unnest",
}  # fmt: skip
_READER_PREFIXES = ("read_", "parquet_", "duckdb_", "pragma_")
_TAKE_LAMBDAS = {
    "apply", "array_apply", "array_filter", "array_reduce", "array_transform", "filter", "list_apply", "list_filter", "list_reduce",
    "list_transform", "reduce",
}  # fmt: skip
_ARROWS = {"->", "->>"}
_ARITHMETIC = {"+", "-", "*", "/", "//", "%", "**", "^"}
_TESTS = {"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "COMPARE_IN", "COMPARE_NOT_IN"}


def ensure_one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Check that ``sql`` is one SELECT that only reads, and that DuckDB parses its arrows as the author meant them.

    ``connection`` only parses; nothing runs.

    Raises
    ------
    QueryError
        It is another statement, or several, or none; it calls a table function that changes something; it cannot be parsed; or an arrow
        (``data->>'name'``) takes a comparison, ``AND``, ``OR`` or ``NOT`` as its operand.
    """
    tree = _parsed(connection, sql)
    if tree["error"]:
        message = str(tree["error_message"]).splitlines()[0].rstrip(".!: ")
        if tree["error_type"] != "not implemented":
            raise QueryError(f"DuckDB refuses the query: {message}.")
        hint = " PIVOT names its values: PIVOT … ON type IN ('a', 'b')." if "pivot" in sql.lower() else ""
        raise QueryError(f"The SQL must be one SELECT over the view events, but is another statement; nothing was run.{hint}")
    statements = tree["statements"]
    if len(statements) != 1:
        found = f"has {len(statements)} statements" if statements else "is empty"
        raise QueryError(f"The SQL must be one SELECT over the view events, but {found}; nothing was run.")
    for node in _nodes(statements[0]):
        kind = node.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _QUERIES:
            what = kind.removesuffix("_QUERY_NODE").removesuffix("_NODE")
            raise QueryError(f"The SQL must be one SELECT over the view events, but contains {what}; nothing was run.")
        if kind == "TABLE_FUNCTION":
            _check_table_function(node)
    _check_arrows(connection, statements[0])


def _parsed(connection: duckdb.DuckDBPyConnection, sql: str) -> Node:
    try:
        # A literal, because with a parameter DuckDB's client imports pandas.
        ((text,),) = connection.execute(f"SELECT json_serialize_sql({quoted(sql)})").fetchall()
        tree: Node = json.loads(text)
    except RecursionError:
        raise QueryError("The SQL is nested too deeply to be checked: move parts of it into WITH.") from None
    except UnicodeEncodeError:
        raise QueryError("The SQL contains half a surrogate pair, which is not valid text.") from None
    return tree


def _nodes(root: Node) -> Iterator[Node]:
    pending: list[Any] = [root]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _check_table_function(node: Node) -> None:
    name = str(node["function"].get("function_name", "")).lower()
    if name not in _READERS and not name.startswith(_READER_PREFIXES):
        raise QueryError(
            f"The SQL calls the table function {name}(…), but only table functions that read are allowed, such as read_csv, read_parquet, "
            "range and unnest; nothing was run."
        )


def _check_arrows(connection: duckdb.DuckDBPyConnection, statement: Node) -> None:
    lambdas: set[int] = set()
    outermost: Node | None = None
    # Parents come before their children, so the first arrow found is the last of a chain, with the rest of the chain below it.
    for node in _nodes(statement):
        if node.get("class") == "FUNCTION" and str(node["function_name"]).lower() in _TAKE_LAMBDAS:
            lambdas.update(id(operand) for operand in _operands(node) if operand.get("class") == "LAMBDA")
        if _is_arrow(node) and id(node) not in lambdas and _mended(node) != node:
            outermost = node
            break
    if outermost is None:
        return
    read, meant = _text(connection, outermost), _text(connection, _mended(outermost))
    raise QueryError(f"DuckDB reads an arrow of the query as {read}: put the arrow in parentheses, {meant}.")


def _is_arrow(node: Node) -> bool:
    if node.get("class") == "LAMBDA":  # the parser represents ``->`` as a lambda
        return str(node.get("syntax_type", "SINGLE_ARROW")) == "SINGLE_ARROW"
    return node.get("class") == "FUNCTION" and str(node["function_name"]) in _ARROWS and len(_operands(node)) == 2


def _mended(arrow: Node) -> Node:
    """Return an arrow with only its adjacent operands, if the parser gave it more."""
    left, right = _operands(arrow)
    if _is_arrow(left):
        left = _mended(left)
    while not _is_arrow(left) and _binds_left(left):
        left = _operands(left)[-1]
    while not _is_arrow(right) and _binds_right(right, of_lambda=arrow["class"] == "LAMBDA"):
        right = _operands(right)[0]
    return _with_operands(arrow, left, right)


def _binds_left(node: Node) -> bool:
    """Whether an arrow's left operand cannot be meant: a truth value, or an operation that ends with a column."""
    if _is_test(node):
        return True
    if not _is_operation(node):
        return False
    last = node
    while _is_operation(last):
        last = _operands(last)[-1]
    return last.get("class") == "COLUMN_REF"


def _binds_right(node: Node, *, of_lambda: bool) -> bool:
    if _is_test(node):
        return of_lambda
    return _is_operation(node) and str(node["function_name"]) in _ARITHMETIC and _is_text(_operands(node)[0])


def _is_test(node: Node) -> bool:
    kind = node.get("class")
    if kind in ("CONJUNCTION", "COMPARISON", "BETWEEN") or (kind == "OPERATOR" and node["type"] in _TESTS):
        return True
    return _is_operation(node) and "~" in str(node["function_name"])  # LIKE, ILIKE, GLOB and their opposites


def _is_operation(node: Node) -> bool:
    return node.get("class") == "FUNCTION" and bool(node["is_operator"]) and not _is_arrow(node) and bool(_operands(node))


def _is_text(node: Node) -> bool:
    if node.get("class") != "CONSTANT":
        return False
    return bool(node["literal"]["kind"] == "STRING" if "literal" in node else node["value"]["type"]["id"] == "VARCHAR")


def _operands(node: Node) -> list[Node]:
    """Return the operands of an expression, in the order of the text; both DuckDB 1.5 and 2 are known."""
    match node["class"]:
        case "COMPARISON":
            return [node["left"], node["right"]]
        case "BETWEEN":
            return [node["input"], node["lower"], node["upper"]]
        case "LAMBDA":
            return [node["lhs"], node["expr"]]
    if "arguments" in node:
        return [argument["expression"] for argument in node["arguments"]]
    return list(node["children"])


def _with_operands(arrow: Node, left: Node, right: Node) -> Node:
    if arrow["class"] == "LAMBDA":
        return {**arrow, "lhs": left, "expr": right}
    if "arguments" in arrow:
        return {
            **arrow,
            "arguments": [{**argument, "expression": one} for argument, one in zip(arrow["arguments"], (left, right), strict=True)],
        }
    return {**arrow, "children": [left, right]}


def _text(connection: duckdb.DuckDBPyConnection, expression: Node) -> str:
    """Return an expression as SQL, with all its parentheses."""
    tree = copy.deepcopy(_parsed(connection, "SELECT 1"))
    tree["statements"][0]["node"]["select_list"] = [{**expression, "alias": ""}]
    ((text,),) = connection.execute(f"SELECT json_deserialize_sql({quoted(json.dumps(tree))}::JSON)").fetchall()
    return str(text).removeprefix("SELECT ")
