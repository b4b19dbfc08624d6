"""What the demo says when it has started: where to go, what to type, how to trust its CA and how to end that trust."""

from __future__ import annotations

from pathlib import Path
from shlex import quote


def guide(
    *, https_port: int, http_port: int, auth: str, products: str, user: str, password: str, ca: Path, ca_name: str
) -> str:
    """The text for a running demo. `auth` and `products` are the addresses of the backends, `ca` is the CA's file."""
    site = f"https://localhost:{https_port}"
    curl = f"curl --cacert {quote(str(ca))}"
    return f"""
Open     {site}/
Sign in  {user}, password {password}

What goes where
  /login, /logout, /account  to the auth backend at {auth}
  everything else            to the products backend at {products}
  http://localhost:{http_port}/     is redirected to {site}/

With curl
  {curl} {site}/products/lamp
  {curl} '{site}/search?q=rope'
  {curl} {site}/request.json
  {curl} -O {site}/price-history.csv
  curl -i http://localhost:{http_port}/

Signing in with curl
  token=$({curl} -s -c cookies {site}/login | sed -n 's/.*name="token" value="\\([^"]*\\).*/\\1/p')
  {curl} -b cookies -c cookies -d token=$token -d user={user} -d password={password} {site}/login
  {curl} -b cookies {site}/account/whoami

Trusting the CA, so that browsers do not warn, and how to end it (it can vouch for names of this machine only)
{trust(ca, ca_name)}
"""


def trust(ca: Path, ca_name: str) -> str:
    """How each system and browser is told to trust a CA, and to trust it no more."""
    file = quote(str(ca))
    system = "/usr/local/share/ca-certificates/lockgate-demo.crt"
    nss = "certutil -d sql:$HOME/.pki/nssdb"
    return f"""  Debian, Ubuntu   sudo cp {file} {system} && sudo update-ca-certificates
    no more        sudo rm {system} && sudo update-ca-certificates --fresh
  Fedora, Arch     sudo trust anchor {file}
    no more        sudo trust anchor --remove {file}
  Chrome on Linux  {nss} -A -t C,, -n lockgate-demo -i {file}
    no more        {nss} -D -n lockgate-demo
  macOS            security add-trusted-cert -k ~/Library/Keychains/login.keychain-db {file}
    no more        security delete-certificate -t -c '{ca_name}'
  Windows          certutil -user -addstore Root ca.pem      (with a copy of {file})
    no more        certutil -user -delstore Root "{ca_name}"
  Firefox          Settings, Privacy & Security, View Certificates, Authorities, Import: {file}
    no more        in the same list: lockgate, Delete or Distrust"""
