"""Settings that are right one by one and wrong together: such a relay does not start. Pure."""

from collections.abc import Callable, Iterator

from soboo_mta.mail.domain import DnsName
from soboo_mta.ports import IpAddress
from soboo_mta.settings.model import Settings
from soboo_mta.settings.sections import (
    HttpListener,
    Listener,
    ListenerTls,
    ReturnListener,
)
from soboo_mta.settings.values import IpNetwork

_Check = Callable[[Settings], Iterator[str]]
WIDEST_PUBLIC = {4: 16, 6: 32}  # prefix lengths; a wider trusted network is a mistake
_TAKEN_PATHS = ("/v1/", "/setup/")  # of soboo_mta.web


def refusals(settings: Settings) -> tuple[str, ...]:
    """Return why the relay must not start with these settings; nothing when it may."""
    return tuple(line for check in _REFUSALS for line in check(settings))


def _master_key(settings: Settings) -> Iterator[str]:
    secrets = settings.secrets
    given = (secrets.master_key_file, secrets.master_key_env)
    if sum(one is not None for one in given) != 1:
        yield (
            "[secrets] needs exactly one of master_key_file and master_key_env:"
            " private keys and credentials are sealed under it"
        )


def _store(settings: Settings) -> Iterator[str]:
    url = settings.store.url
    schemes = ("sqlite:///", "postgresql://", "postgres://", "postgresql+psycopg://")
    if url and not url.startswith(schemes):
        yield "[store] url must begin with sqlite:/// or postgresql://"
    if url == "sqlite:///" or ":memory:" in url:
        yield "[store] url must name a file: mail in memory is lost mail"


def _certificate(settings: Settings) -> Iterator[str]:
    tls = settings.tls
    if (tls.certificate_file is None) != (tls.private_key_file is None):
        yield "[tls] certificate_file and private_key_file go together: set both"
    if tls.certificate_file is None and any(_speaks_tls(settings)):
        yield (
            "[[listeners]] with tls = starttls or implicit need [tls] certificate_file"
            " and private_key_file"
        )
    if tls.certificate_file is None and any(one.tls for one in settings.http_listeners):
        yield (
            "[[http_listeners]] need [tls] certificate_file and private_key_file, or"
            " tls = false on loopback"
        )


def _publish(settings: Settings) -> Iterator[str]:
    publish = settings.publish
    if publish.server is not None and publish.directory is not None:
        yield "[publish] has one of server (updates) and directory (zone files)"
    if publish.server is not None and None in (publish.key_name, publish.key_file):
        yield "[publish] server needs key_name and key_file: updates are signed"
    if publish.directory is not None and not publish.reload:
        yield "[publish] directory needs reload: the name server has to hear of changes"
    if settings.publishes and not publish.name_servers:
        yield (
            "[publish] needs name_servers, the public addresses of your name servers:"
            " delegated zones lead to them"
        )
    reports = publish.tls_reports
    if reports is not None and f"{reports.path}/".startswith(_TAKEN_PATHS):
        yield (
            f"[publish] tls_reports: {reports.path} is a path of the HTTP listeners'"
            " own pages; choose another, as /tls-reports"
        )


def _listeners(settings: Settings) -> Iterator[str]:
    seen: set[tuple[object, int]] = set()
    for listener in settings.listeners:
        if (listener.address, listener.port) in seen:
            yield f"[[listeners]] {name_of(listener)} stands twice"
        seen.add((listener.address, listener.port))
        if is_in_clear(listener) and not settings.submission.trusted_networks:
            yield (
                f"[[listeners]] {name_of(listener)} is in clear and off loopback, where"
                " AUTH is never allowed: set tls, or name [submission] trusted_networks"
            )


def _http_listeners(settings: Settings) -> Iterator[str]:
    places = {(one.address, one.port) for one in settings.listeners}
    for listener in settings.http_listeners:
        name = f"[[http_listeners]] {name_of(listener)}"
        if (listener.address, listener.port) in places:
            yield f"{name} stands twice, or is a listener of another kind too"
        places.add((listener.address, listener.port))
        if not (listener.tls or listener.address.is_loopback):
            yield (
                f"{name} is in clear and off loopback, where no credential may cross:"
                " set tls, or let a proxy on this host speak TLS"
            )
    monitoring = settings.monitoring
    if (monitoring.address, monitoring.port) in places:
        yield f"[monitoring] port {monitoring.port} is a listener's"


def _return_listeners(settings: Settings) -> Iterator[str]:
    places = {(one.address, one.port) for one in settings.listeners}
    places |= {(one.address, one.port) for one in settings.http_listeners}
    for listener in settings.return_listeners:
        name = f"[[return_listeners]] {name_of(listener)}"
        if (listener.address, listener.port) in places:
            yield f"{name} stands twice, or is a listener of another kind too"
        places.add((listener.address, listener.port))
        if listener.tls is ListenerTls.STARTTLS and not settings.tls.certificate_file:
            yield (
                f"{name} offers STARTTLS: it needs [tls] certificate_file and"
                ' private_key_file, or tls = "none"'
            )
    returns = settings.returns
    if returns.max_buffered_size < returns.max_message_size:
        yield (
            "[returns] max_buffered_size is below max_message_size: nothing of that size"
            " could be taken back"
        )


def _complaints(settings: Settings) -> Iterator[str]:
    address = settings.complaints.address
    if address is not None and address.domain != settings.operator.domain:
        yield (
            f"[complaints] address is an address at {settings.operator.domain}: providers"
            " want that domain's signature beside the customer's (RFC 9477)"
        )
    asked = settings.complaints
    shares = (asked.warn_percent, asked.slow_percent, asked.hold_percent)
    rising = [share for share in shares if share]
    if rising != sorted(rising):
        yield (
            "[complaints] warn_percent, slow_percent and hold_percent do not rise: what is"
            " held is slowed and warned of before"
        )


def _client_authorities(settings: Settings) -> Iterator[str]:
    for listener in settings.listeners:
        if listener.client_ca_file and listener.tls is ListenerTls.NONE:
            yield (
                f"[[listeners]] {name_of(listener)} has a client_ca_file and tls = none:"
                " client certificates are shown in TLS"
            )


def _proxies(settings: Settings) -> Iterator[str]:
    for listener in settings.listeners:
        for network in listener.proxies:
            if (
                not is_inside(network)
                and network.prefixlen < WIDEST_PUBLIC[network.version]
            ):
                yield (
                    f"[[listeners]] {name_of(listener)} proxies: {network} is too wide;"
                    " whoever connects from there can claim to be any client"
                )


def _trusted_networks(settings: Settings) -> Iterator[str]:
    for network in settings.submission.trusted_networks:
        if (
            not is_inside(network)
            and network.prefixlen < WIDEST_PUBLIC[network.version]
        ):
            yield (
                f"[submission] trusted_networks: {network} would make an open relay;"
                f" public networks down to /{WIDEST_PUBLIC[network.version]} are taken"
            )


def _sizes(settings: Settings) -> Iterator[str]:
    submission = settings.submission
    if submission.max_buffered_size < submission.max_message_size:
        yield (
            "[submission] max_buffered_size is below max_message_size: no message of"
            " that size could be taken"
        )


def _sources(settings: Settings) -> Iterator[str]:
    names: set[str] = set()
    for source in settings.sources:
        if source.name in names:
            yield f"[[sources]] {source.name} stands twice"
        names.add(source.name)
        local, public = source.address, source.public_address
        if local is not None and local.version != public.version:
            yield (
                f"[[sources]] {source.name}: address is IPv{local.version} and"
                f" public_address IPv{public.version}: use two sources"
            )


def _pools(settings: Settings) -> Iterator[str]:
    known = {source.name for source in settings.sources}
    names: set[str] = set()
    owner: dict[str, str] = {}
    for pool in settings.pools:
        if pool.name in names:
            yield f"[[pools]] {pool.name} stands twice"
        names.add(pool.name)
        for name in pool.sources:
            if name not in known:
                yield f"[[pools]] {pool.name}: there is no source {name}"
        if len(set(pool.sources)) < len(pool.sources):
            yield f"[[pools]] {pool.name} has a source twice: give it more weight"
        if pool.weights and len(pool.weights) != len(pool.sources):
            yield f"[[pools]] {pool.name} needs a weight for each source, or none"
        for domain in pool.domains:
            if domain in owner:
                yield f"[[pools]] {domain} is in {owner[domain]} and in {pool.name}"
            owner[domain] = pool.name


def _groups(settings: Settings) -> Iterator[str]:
    names: set[str] = set()
    owner: dict[str, str] = {}
    for group in settings.groups:
        if group.name in names:
            yield f"[[groups]] {group.name} stands twice"
        names.add(group.name)
        for suffix in group.mx:
            if suffix in owner:
                yield f"[[groups]] {suffix} is in {owner[suffix]} and in {group.name}"
            owner[suffix] = group.name


def _routes(settings: Settings) -> Iterator[str]:
    seen: set[str] = set()
    for route in settings.routes:
        if route.domain in seen:
            yield f"[[routes]] {route.domain} stands twice"
        seen.add(route.domain)
        for listener in settings.listeners:
            for hop in route.hops:
                if hop.port == listener.port and _is_served_by(listener, hop.host):
                    yield (
                        f"[[routes]] {route.domain} ends on {name_of(listener)}, which is"
                        " our own listener: mail would loop"
                    )


def _retry(settings: Settings) -> Iterator[str]:
    if settings.retry.lifetime <= settings.retry.steps[0]:
        yield "[retry] lifetime ends before the first of the steps: nothing is retried"


def _lookups(settings: Settings) -> Iterator[str]:
    if settings.dns.lifetime < settings.dns.timeout:
        yield "[dns] lifetime is for a whole look-up: it can't be below timeout"
    if settings.delivery.longest_ttl < settings.delivery.shortest_ttl:
        yield "[delivery] longest_ttl is below shortest_ttl"


# ---- shared


def _speaks_tls(settings: Settings) -> Iterator[bool]:
    for listener in settings.listeners:
        yield listener.tls is not ListenerTls.NONE


def is_in_clear(listener: Listener) -> bool:
    return listener.tls is ListenerTls.NONE and not listener.address.is_loopback


def _is_served_by(listener: Listener, host: IpAddress | DnsName) -> bool:
    """Whether a connection to `host` would meet the listener, as far as is known."""
    if isinstance(host, str):
        return False
    everywhere = listener.address.is_unspecified and host.is_loopback
    same_family = host.version == listener.address.version
    return host == listener.address or (everywhere and same_family)


def is_inside(network: IpNetwork) -> bool:
    """Whether all of it is private or loopback (`is_private` holds for the whole)."""
    return network.is_private or network.is_loopback or network.is_link_local


def name_of(listener: Listener | HttpListener | ReturnListener) -> str:
    address = str(listener.address)
    return (
        f"[{address}]:{listener.port}"
        if ":" in address
        else f"{address}:{listener.port}"
    )


_REFUSALS: tuple[_Check, ...] = (
    _master_key,
    _store,
    _certificate,
    _publish,
    _listeners,
    _http_listeners,
    _return_listeners,
    _complaints,
    _client_authorities,
    _proxies,
    _trusted_networks,
    _sizes,
    _sources,
    _pools,
    _groups,
    _routes,
    _retry,
    _lookups,
)
