"""DKIM keys made, imported, loaded and published."""

import base64
import shutil
import subprocess
from hashlib import sha256

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from soboo_mta.formats.keys import (
    Algorithm,
    KeyPair,
    dkim_txt,
    generate_ed25519,
    generate_rsa,
    import_private,
    load_signing_key,
    public_bits,
    txt_p,
)
from soboo_mta.mail.errors import FormatError

TEXT = b"what is signed"
DIGEST = sha256(TEXT).digest()


@pytest.fixture(scope="module")
def rsa_pair() -> KeyPair:
    return generate_rsa()


def pem(
    key: rsa.RSAPrivateKey | Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
    form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
    password: bytes | None = None,
) -> bytes:
    sealed = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, form, sealed)


def mersenne(first: int, second: int) -> rsa.RSAPrivateKey:
    """A key of an odd size at no cost: of two Mersenne primes."""
    p, q = 2**first - 1, 2**second - 1
    d = pow(65_537, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(65_537, p * q),
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def test_an_rsa_signature_is_good_under_the_published_half(rsa_pair: KeyPair) -> None:
    key = load_signing_key(rsa_pair.private, rsa_pair.algorithm)
    public = serialization.load_der_public_key(base64.b64decode(rsa_pair.p))
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 2_048
    public.verify(key.sign(DIGEST), TEXT, padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(InvalidSignature):
        public.verify(key.sign(DIGEST), b"else", padding.PKCS1v15(), hashes.SHA256())


def test_an_ed25519_signature_is_over_the_digest() -> None:  # RFC 8463 §3
    pair = generate_ed25519()
    key = load_signing_key(pair.private, Algorithm.ED25519)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(pair.p))
    public.verify(key.sign(DIGEST), DIGEST)
    assert len(pair.p) == 44
    assert key.algorithm is Algorithm.ED25519


def test_a_private_half_is_not_shown(rsa_pair: KeyPair) -> None:
    shown = repr(rsa_pair) + repr(load_signing_key(rsa_pair.private, Algorithm.RSA))
    assert "private=" not in shown
    assert repr(rsa_pair.private)[2:40] not in shown


@pytest.mark.parametrize("algorithm", [Algorithm.ED25519, Algorithm.RSA])
def test_a_damaged_key_does_not_load(algorithm: Algorithm) -> None:
    with pytest.raises(FormatError, match="damaged"):
        load_signing_key(b"\x30\x03junk", algorithm)


def test_a_key_of_the_other_kind_does_not_load(rsa_pair: KeyPair) -> None:
    with pytest.raises(FormatError, match="not for ed25519-sha256"):
        load_signing_key(rsa_pair.private, Algorithm.ED25519)


@pytest.mark.parametrize(
    "form",
    [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL],
)
def test_pkcs1_and_pkcs8_are_imported_alike(
    rsa_pair: KeyPair, form: serialization.PrivateFormat
) -> None:
    key = serialization.load_der_private_key(rsa_pair.private, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert import_private(b"\n" + pem(key, form) + b"\n") == rsa_pair


def test_ed25519_is_imported() -> None:
    key = Ed25519PrivateKey.generate()
    assert import_private(pem(key)).algorithm is Algorithm.ED25519


def test_case_066_imports_that_verifiers_refuse_are_refused_in_words(
    rsa_pair: KeyPair,
) -> None:
    sealed = serialization.load_der_private_key(rsa_pair.private, None)
    assert isinstance(sealed, rsa.RSAPrivateKey)
    refused = {
        "has 648 bits": pem(mersenne(521, 127)),
        "has 4484 bits": pem(mersenne(2_281, 2_203)),
        "encrypted": pem(sealed, password=b"secret"),
        "no PEM private key": b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n",
        "encrypted: give": pem(
            sealed, serialization.PrivateFormat.TraditionalOpenSSL, b"secret"
        ),
        "public exponent 3": pem(rsa.generate_private_key(3, 1_024)),
        "public half": sealed.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        ),
        "a certificate": b"-----BEGIN CERTIFICATE-----\nAAAA\n",
        "RSA or Ed25519": pem(ec.generate_private_key(ec.SECP256R1())),
    }
    for word, octets in refused.items():
        with pytest.raises(FormatError, match=word):
            import_private(octets)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
@pytest.mark.parametrize(
    ("words", "algorithm"),
    [
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", Algorithm.RSA),
        ("genrsa -traditional 2048", Algorithm.RSA),
        ("genpkey -algorithm ED25519", Algorithm.ED25519),
    ],
)
def test_keys_made_by_openssl_are_imported_and_sign(
    words: str, algorithm: Algorithm
) -> None:
    made = subprocess.run(
        ["openssl", *words.split()],
        check=True,
        capture_output=True,
    )
    pair = import_private(made.stdout)
    assert pair.algorithm is algorithm
    public = subprocess.run(
        ["openssl", "pkey", "-pubout", "-outform", "DER"],
        check=True,
        capture_output=True,
        input=made.stdout,
    ).stdout
    assert public.endswith(base64.b64decode(pair.p))
    assert load_signing_key(pair.private, algorithm).sign(DIGEST)


@pytest.mark.parametrize(
    ("p", "algorithm", "txt"),
    [
        ("QUJD", Algorithm.RSA, "v=DKIM1; k=rsa; p=QUJD"),
        ("QUJD", Algorithm.ED25519, "v=DKIM1; k=ed25519; p=QUJD"),
        ("", Algorithm.RSA, "v=DKIM1; k=rsa; p="),
    ],
)
def test_a_record_is_written_and_read_back(
    p: str, algorithm: Algorithm, txt: str
) -> None:
    assert dkim_txt(p, algorithm) == txt
    assert txt_p(txt)[0] == p


@pytest.mark.parametrize(
    ("txt", "p"),
    [
        ("p=QUJD", "QUJD"),
        ("v=DKIM1;k=rsa;t=s;p=QU JD\t==;", "QUJD=="),
        (" v=DKIM1 ; p = QUJD ; n=a note ", "QUJD"),
        ("v=DKIM1; p=", ""),
    ],
)
def test_other_peoples_records_are_read(txt: str, p: str) -> None:
    assert txt_p(txt)[0] == p


def test_all_tags_are_given() -> None:
    assert txt_p("v=DKIM1; t=s; p=A=")[1] == {"v": "DKIM1", "t": "s", "p": "A="}


@pytest.mark.parametrize(
    ("txt", "word"),
    [
        ("", "no tag"),
        ("v=spf1 -all", "no p="),
        ("v=DKIM1; k=rsa", "no p="),
        ("v=DKIM2; p=QUJD", "begin with v=DKIM1"),
        ("k=rsa; v=DKIM1; p=QUJD", "begin with v=DKIM1"),
        ("v=DKIM1; p=A; p=B", "twice"),
        ("v=DKIM1;; p=A", "no tag"),
        ('"v=DKIM1; p=A"', "no tag"),
    ],
)
def test_what_is_no_key_record_is_refused_in_words(txt: str, word: str) -> None:
    with pytest.raises(FormatError, match=word):
        txt_p(txt)


def test_the_size_of_a_published_key_is_read_from_its_p() -> None:
    assert public_bits(generate_rsa(1024).p, Algorithm.RSA) == 1024
    assert public_bits(generate_ed25519().p, Algorithm.ED25519) == 256


@pytest.mark.parametrize(
    ("p", "algorithm"),
    [("", Algorithm.RSA), ("A!", Algorithm.RSA), ("AAAA", Algorithm.ED25519)],
)
def test_what_is_no_key_has_no_size(p: str, algorithm: Algorithm) -> None:
    with pytest.raises(FormatError, match="no public key"):
        public_bits(p, algorithm)
