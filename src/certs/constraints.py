"""Which names the issuers in a chain may issue for: name constraints (RFC 5280 section 4.2.1.10) of DNS names and addresses.

Clients refuse a certificate with a name, be it one of many, that one of its issuers may not issue for; what a root says counts
too (OpenSSL, Go). Constraints of other kinds of names are left to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from cryptography import x509

from .files import UNREADABLE
from .names import listed, title

Name = x509.DNSName | x509.IPAddress


def violations(leaf: x509.Certificate, issuers: Iterable[x509.Certificate]) -> list[str]:
    """What is to be said of issuers that may not issue for a name of the leaf, one text for each such issuer."""
    found = []
    for issuer in issuers:
        constraints = constraints_of(issuer)
        if constraints is None:
            continue
        try:
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (*UNREADABLE, x509.ExtensionNotFound):
            continue
        bad = [str(name.value) for name in names if isinstance(name, Name) and not _may_issue(constraints, name)]
        if bad:
            rules = [
                f"{what} for {listed(texts)}"
                for what, trees in (("only", constraints.permitted_subtrees), ("not", constraints.excluded_subtrees))
                if (texts := [str(tree.value) for tree in trees or () if isinstance(tree, Name)])
            ]
            found.append(
                f"its issuer {title(issuer)} may not issue for {listed(bad)} (name constraints: {', '.join(rules)}), "
                "so clients will refuse it; get a certificate without such names, or from another issuer"
            )
    return found


def constraints_of(issuer: x509.Certificate) -> x509.NameConstraints | None:
    """What it may issue for; None if it does not say, or not in a way that can be read."""
    try:
        return issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except (*UNREADABLE, x509.ExtensionNotFound):
        return None


def _may_issue(constraints: x509.NameConstraints, name: Name) -> bool:
    """What is permitted counts if anything of the same kind is; what is excluded goes before it."""
    permitted = [tree for tree in constraints.permitted_subtrees or () if type(tree) is type(name)]
    excluded = [tree for tree in constraints.excluded_subtrees or () if type(tree) is type(name)]
    if any(_is_within(name, tree) or _may_stand_for(name, tree) for tree in excluded):
        return False
    return not permitted or any(_is_within(name, tree) for tree in permitted)


def _is_within(name: x509.GeneralName, tree: x509.GeneralName) -> bool:
    if isinstance(tree.value, IPv4Network | IPv6Network):
        return name.value in tree.value
    base, text = str(tree.value).lower(), str(name.value).lower()
    if not base or text == base:
        return True
    # With a dot in front, which the RFC knows in URIs only, clients take nothing but names below it
    return text.endswith(base if base.startswith(".") else f".{base}")


def _may_stand_for(name: x509.GeneralName, tree: x509.GeneralName) -> bool:
    """Whether a name with a wildcard is good for one that is excluded: such names are refused by some clients (Go)."""
    text, base = str(name.value).lower(), str(tree.value).lower().removeprefix(".")
    return text.startswith("*.") and base.partition(".")[2] == text[2:]
