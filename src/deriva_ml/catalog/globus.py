"""Logging in at a Deriva host that lets Globus say who somebody is, with the ``deriva`` package's own client."""

from __future__ import annotations

from deriva_ml.core.exceptions import DerivaMLAuthenticationError

__all__ = ["globus_login"]


def globus_login(host: str) -> str:
    """Log in at a Deriva host, unless that was done; the tokens are kept where the ``deriva`` package looks for them.

    Args:
        host: The host's name.

    Returns:
        What was done, in words.

    Raises:
        DerivaMLAuthenticationError: The login failed.
    """
    from deriva.core.utils.globus_auth_utils import GlobusNativeLogin

    login = GlobusNativeLogin(host=host)
    try:
        if login.is_logged_in([host]):
            return "You are already logged in."
        login.login([host], no_local_server=True, no_browser=True, refresh_tokens=True, update_bdbag_keychain=True)
    except Exception as error:  # the client raises what its own parts raise, which has no common class
        raise DerivaMLAuthenticationError(
            f"The login at {host} failed: {error}", source=host, hint=f"deriva-globus-auth-utils login --host {host}"
        ) from error
    return "Login Successful"
