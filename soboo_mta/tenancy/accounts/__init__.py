"""Tenants, how they log in, and the generation that tells workers of change.

Functions over one connection, for the writer's thread, a reader or the CLI; the caller
owns the transaction. Whatever changes who may send raises the generation in that same
transaction, first of all: its row lock puts concurrent changes in order.
"""

from soboo_mta.tenancy.accounts.certificates import (
    bind_certificate,
    certificate_key,
    certificate_names,
    find_certified,
    parse_certificate_name,
    unbind_certificate,
)
from soboo_mta.tenancy.accounts.credentials import (
    Credential,
    IpNetwork,
    NewCredential,
    add_credential,
    change_credential,
    find_credential,
    find_login,
    is_live,
    is_user_name,
    list_credentials,
    parse_networks,
    parse_user_name,
    renew_secret,
    revoke_credential,
    the_credential,
    used,
)
from soboo_mta.tenancy.accounts.tenants import (
    MAX_QUOTA,
    TenancyError,
    Tenant,
    add_tenant,
    bump_generation,
    change_tenant,
    find_tenant,
    generation,
    list_tenants,
    parse_tenant_id,
    parse_tenant_name,
    the_tenant,
)

__all__ = [
    "MAX_QUOTA",
    "Credential",
    "IpNetwork",
    "NewCredential",
    "TenancyError",
    "Tenant",
    "add_credential",
    "add_tenant",
    "bind_certificate",
    "bump_generation",
    "certificate_key",
    "certificate_names",
    "change_credential",
    "change_tenant",
    "find_certified",
    "find_credential",
    "find_login",
    "find_tenant",
    "generation",
    "is_live",
    "is_user_name",
    "list_credentials",
    "list_tenants",
    "parse_certificate_name",
    "parse_networks",
    "parse_tenant_id",
    "parse_tenant_name",
    "parse_user_name",
    "renew_secret",
    "revoke_credential",
    "the_credential",
    "the_tenant",
    "unbind_certificate",
    "used",
]
