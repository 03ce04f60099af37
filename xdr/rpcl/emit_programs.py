"""Programs to classes: for each version what a server implements and what a client calls (RFC 5531, section 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from xdr.rpcl.model import ProcedureEntry, ProgramEntry, Scalar, Type, VersionEntry
from xdr.rpcl.names import METHOD_RESERVED, PARAMETER_RESERVED, Scope
from xdr.rpcl.text import comments, docstring, indented, literal, wrapped

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["ProgramEmitter"]

_VOID: Final = Scalar("void")
_ATTRIBUTES: Final = ("procedures", "program", "program_name", "version", "version_name")


class _Types(Protocol):
    def annotation(self, type_: Type, shadowed: Collection[str] = ()) -> str:
        """Write a type as an annotation."""


class ProgramEmitter:
    """Writes the classes of programs.

    Args:
        types: Writes types.
        scope: The names of the module.
        exports: Takes the names of the classes.
    """

    def __init__(self, types: _Types, scope: Scope, exports: list[str]) -> None:
        self._types = types
        self._scope = scope
        self._exports = exports

    def program(self, program: ProgramEntry) -> list[str]:
        """Write all classes of a program."""
        out = ["", "", *comments(program.notes.remarks)] if program.notes.remarks else []
        for version in program.versions:
            out += self._version(program, version)
        return out

    def _class(self, program: ProgramEntry, version: VersionEntry, kind: str) -> str:
        name = self._scope.take(f"{program.name}_{version.number}_{kind}")
        self._exports.append(name)
        return name

    def _version(self, program: ProgramEntry, version: VersionEntry) -> list[str]:
        procedures = sorted(version.procedures, key=lambda procedure: procedure.number)
        methods = _methods(procedures)
        # Within the class these names mean its attributes, not the types of the module.
        shadowed = frozenset(methods) | frozenset(_ATTRIBUTES)
        server = self._class(program, version, "Server")
        title = f"Version {version.number} ({version.name}) of program {program.name}, {program.spelling}"
        docs = "\n\n".join(text for text in (program.notes.doc, version.notes.doc) if text)
        out = ["", "", f"class {server}(_rpc.Program):", *docstring(_docs(f"{title}.", docs), "    "), ""]
        entries = [self._entry(p, m, shadowed) for p, m in zip(procedures, methods, strict=True)]
        out += indented(_constants(program, version))
        if entries:
            out += ["    procedures: ClassVar[tuple[_rpc.Procedure, ...]] = (", *indented(indented(entries)), "    )"]
        else:
            out += ["    procedures: ClassVar[tuple[_rpc.Procedure, ...]] = ()"]
        for procedure, method in zip(procedures, methods, strict=True):
            out += self._server_method(procedure, method, shadowed)
        for kind, returns in (("Client", "Deferred[{}]"), ("SyncClient", "{}")):
            name = self._class(program, version, kind)
            how = "Calls" if kind == "Client" else "Calls, and waits for the answers of,"
            out += [
                "",
                "",
                f"class {name}(_rpc.ClientStub):",
                f'    """{how} version {version.number} ({version.name}) of program {program.name}."""',
                "",
            ]
            out += indented(_constants(program, version))
            out += [f"    procedures: ClassVar[tuple[_rpc.Procedure, ...]] = {server}.procedures"]
            for index, (procedure, method) in enumerate(zip(procedures, methods, strict=True)):
                out += self._client_method(procedure, method, index, shadowed, returns)
        return out

    def _entry(self, procedure: ProcedureEntry, method: str, shadowed: Collection[str]) -> str:
        arguments = [self._types.annotation(argument.type, shadowed) for argument in procedure.arguments]
        listed = f"({', '.join(arguments)}{',' if len(arguments) == 1 else ''})"
        result = self._types.annotation(procedure.result, shadowed)
        return f'_rpc.Procedure({procedure.number}, "{procedure.name}", "{method}", {listed}, {result}),'

    def _parameters(self, procedure: ProcedureEntry, shadowed: Collection[str]) -> list[tuple[str, str]]:
        scope = Scope(frozenset(PARAMETER_RESERVED))
        out: list[tuple[str, str]] = []
        for index, argument in enumerate(procedure.arguments, 1):
            plain = "arg" if len(procedure.arguments) == 1 else f"arg{index}"
            name = scope.take(argument.name or plain)
            out.append((name, self._types.annotation(argument.type, shadowed)))
        return out

    def _server_method(self, procedure: ProcedureEntry, method: str, shadowed: Collection[str]) -> list[str]:
        parameters = ["self", "call: _rpc.Call"] + [f"{n}: {t}" for n, t in self._parameters(procedure, shadowed)]
        result = self._types.annotation(procedure.result, shadowed)
        does_nothing = procedure.number == 0 and not procedure.arguments and procedure.result == _VOID
        head = wrapped(f"def {method}(", parameters, f") -> _rpc.Result[{result}]:")
        title = "Do nothing (procedure 0)." if does_nothing else f"Procedure {procedure.number}, {procedure.name}."
        body = docstring(_docs(title, procedure.notes.doc))
        if does_nothing:
            return ["", *indented([*comments(procedure.notes.remarks), *head, *indented([*body, "return None"])])]
        return ["", *indented([*comments(procedure.notes.remarks), "@abstractmethod", *head, *indented(body)])]

    def _client_method(
        self, procedure: ProcedureEntry, method: str, index: int, shadowed: Collection[str], returns: str
    ) -> list[str]:
        pairs = self._parameters(procedure, shadowed)
        parameters = ["self", *(f"{n}: {t}" for n, t in pairs), "*", "timeout: float | None = None"]
        answer = returns.format(self._types.annotation(procedure.result, shadowed))
        head = wrapped(f"def {method}(", parameters, f") -> {answer}:")
        call = f"self._call({', '.join([str(index), *(name for name, _ in pairs), 'timeout=timeout'])})"
        body = docstring(_docs(f"Call procedure {procedure.number}, {procedure.name}.", procedure.notes.doc))
        body += [call] if answer == "None" else [f"answer: {answer} = {call}", "return answer"]
        return ["", *indented([*head, *indented(body)])]


def _constants(program: ProgramEntry, version: VersionEntry) -> list[str]:
    return [
        f"program: ClassVar[int] = {literal(program.number, program.spelling)}",
        f"version: ClassVar[int] = {version.number}",
        f'program_name: ClassVar[str] = "{program.name}"',
        f'version_name: ClassVar[str] = "{version.name}"',
    ]


def _docs(title: str, doc: str) -> str:
    return f"{title}\n\n{doc}" if doc else title


def _methods(procedures: list[ProcedureEntry]) -> list[str]:
    """Name the methods: small letters, but the procedure's own spelling if two would be the same."""
    lower = [procedure.name.lower() for procedure in procedures]
    scope = Scope(frozenset(METHOD_RESERVED))
    return [
        scope.take(small if lower.count(small) == 1 else procedure.name)
        for procedure, small in zip(procedures, lower, strict=True)
    ]
