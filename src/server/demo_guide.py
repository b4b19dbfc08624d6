"""What the demo says when it has started: where to go, what to type, how to trust its CA and how to end that trust."""

from __future__ import annotations

from pathlib import Path
from shlex import quote


def guide(*, https_port: int, http_port: int, auth: str, products: str, user: str, password: str, ca: Path) -> str:
    """The text for a running demo. `auth` and `products` are the addresses of the backends."""
    site, cacert = f"https://localhost:{https_port}", quote(str(ca))
    curl = f"curl --cacert {cacert}"
    return f"""
Open     {site}/
Sign in  {user}, password {password}

What goes where
  {site}/login, /logout, /account  ->  auth backend, http://{auth}
  {site}/ and all else             ->  products backend, http://{products}
  http://localhost:{http_port}/                       ->  redirected to https

With curl
  {curl} {site}/products/lamp
  {curl} "{site}/search?q=rope"
  {curl} {site}/request.json
  {curl} -O {site}/price-history.csv
  curl -i http://localhost:{http_port}/search?q=rope

Signing in with curl
  token=$({curl} -s -c cookies {site}/login | sed -n 's/.*name="token" value="\\([^"]*\\).*/\\1/p')
  {curl} -b cookies -c cookies -d token=$token -d user={user} -d password={password} {site}/login
  {curl} -b cookies {site}/account/whoami

Trusting the CA, so that browsers do not warn (it can vouch for this machine's own names only), and how to end it
{trust(ca)}
"""


def trust(ca: Path) -> str:
    """How each system and browser is told to trust a CA, and to trust it no more."""
    file = quote(str(ca))
    installed = "/usr/local/share/ca-certificates/lockgate-demo.crt"
    nss = 'certutil -d "sql:$HOME/.pki/nssdb"'
    return f"""  Debian, Ubuntu   sudo cp {file} {installed} && sudo update-ca-certificates
           remove  sudo rm {installed} && sudo update-ca-certificates --fresh
  Fedora, Arch     sudo trust anchor {file}
           remove  sudo trust anchor --remove {file}
  Chrome on Linux  {nss} -A -t C,, -n lockgate-demo -i {file}
           remove  {nss} -D -n lockgate-demo
  macOS            security add-trusted-cert -k ~/Library/Keychains/login.keychain-db {file}
           remove  security remove-trusted-cert {file}
  Windows          certutil -user -addstore Root ca.pem      (a copy of {file})
           remove  certutil -user -delstore Root "lockgate local CA"
  Firefox          Settings, Privacy & Security, View Certificates, Authorities, Import: {file}
           remove  the same list: lockgate, Delete or Distrust"""
