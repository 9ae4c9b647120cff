"""Secrets: what is one, what merely looks like one, and that none of it is ever repeated."""

from __future__ import annotations

import string
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from memory.admitting.secrets import MASK, find, masked

# Put together here, so that no scanner takes this file for a leak.
STRIPE = "sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc"
GITHUB = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
SLACK = "xoxb-" + "123456789012-abcdefABCDEF"

SECRETS = [
    ("My key is AKIAIOSFODNN7EXAMPLE for the bucket", "api key", "AKIAIOSFODNN7EXAMPLE"),
    (
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "api key",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ),
    ("maps: AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY", "api key", "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"),
    (f"charge with {STRIPE}", "api key", STRIPE),
    ("export OPENAI_API_KEY=sk-proj-abc123DEF456ghi789jkl", "api key", "sk-proj-abc123DEF456ghi789jkl"),
    ("use mk-0123456789abcdef0123456789abcdef here", "api key", "mk-0123456789abcdef0123456789abcdef"),
    (f"git clone with {GITHUB}", "token", GITHUB),
    (f"bot {SLACK}", "token", SLACK),
    ("glpat-abcdefghij0123456789", "token", "glpat-abcdefghij0123456789"),
    ("hf_abcdefghijklmnopqrstuvwxyzABCDEFGH", "token", "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"),
    ("npm_abcdefghijklmnopqrstuvwxyz0123456789", "token", "npm_abcdefghijklmnopqrstuvwxyz0123456789"),
    (
        "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0",
        "token",
        "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0",
    ),
    (
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9",
        "token",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9",
    ),
    (
        "Authorization: Bearer abcdef0123456789abcdef",
        "token",
        "Authorization: Bearer abcdef0123456789abcdef",
    ),
    ("client_secret: 8f14e45fceea167a5a36dedd4bea2543", "token", "8f14e45fceea167a5a36dedd4bea2543"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "private key", "-----BEGIN RSA PRIVATE KEY-----"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key", "-----BEGIN OPENSSH PRIVATE KEY-----"),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----", "private key", "-----BEGIN PGP PRIVATE KEY BLOCK-----"),
    ("postgresql://ann:hunter2@db.example.org/app", "password", "hunter2"),
    ("password: hunter2!x", "password", "hunter2!x"),
    ("My password is Tr0ub4dor&3", "password", "Tr0ub4dor&3"),
    ("the wifi password is sunny-day7", "password", "sunny-day7"),
    ("The password of the lamp shop is Tr0ub4dor&3", "password", "Tr0ub4dor&3"),
    ("password for the wifi at home: sunny7day", "password", "sunny7day"),
    ("Das Passwort für den Laden lautet Sommer2024!", "password", "Sommer2024!"),
    ("The database password is now set to Xk9#mmpq", "password", "Xk9#mmpq"),
    ('PASSWORD="correcthorse"', "password", "correcthorse"),
    ("my password was hunter2, please change it", "password", "hunter2"),
    ("password: Mysql2024!", "password", "Mysql2024!"),
    ("Passwort lautet Sommer2024!", "password", "Sommer2024!"),
    ("Kennwort: geheim123", "password", "geheim123"),
    ("mot de passe : azerty99!", "password", "azerty99!"),
    ("la contraseña es Verano2025!", "password", "Verano2025!"),
    ("My PIN is 4711", "password", "4711"),
    ("4111 1111 1111 1111", "card number", "4111 1111 1111 1111"),
    ("pay with 5555-5555-5555-4444 please", "card number", "5555-5555-5555-4444"),
    ("378282246310005", "card number", "378282246310005"),
]

LOOK_ALIKES = [
    "I forgot my password again",
    "The password is required to have 12 characters",
    "She uses a password manager called Bitwarden",
    "The password was leaked yesterday",
    "My password is secure",
    "The password is not known",
    "The password of the shop is known to Ben",
    "The key to success is hard-work2024",
    "Das Passwort ist falsch",
    "the password is user-friendly",
    "password: <your-password>",
    "password: your-password-here",
    "password = my_password",
    "password=$DB_PASSWORD",
    'password = os.environ["DB"]',
    "passphrase: none",
    "password reset: https://example.org/reset",
    "pwd: /home/ann",
    "Ana will pass the exam on Monday",
    "The token is 512 tokens long",
    "max_tokens: 2048",
    "token: required",
    "The secret is out: Ana moves to Lisbon",
    "secret: pneumonoultramicroscopicsilicovolcanoconiosis",
    "The key is to practise every day",
    "primary key: user_id",
    "access key: the one under the mat",
    "Set the API key: your_api_key_here",
    "authorization: required",
    "The Bearer of this letter is Ana",
    "mem_0123456789abcdef0123456789abcdef",
    "commit 8f14e45fceea167a5a36dedd4bea254312345678",
    "sk-learn is a library; scikit-learn-contrib too",
    "sk-aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "mk-ultra was a programme",
    "https://example.org:8080/path",
    "git@github.com:ann/repo.git",
    "postgresql://user:password@host/db",
    "Pin the note to the board",
    "PIN codes have 4 digits",
    "Call me at 030 1234 5678 9012",
    "ISBN 978-3-16-148410-0",
    "DE89 3704 0044 0532 0130 00",
    "order number 4111111111111112",
    "0000 0000 0000 0000",
    "3.14159265358979323846",
    "1714730400000 and 17147304000000",
    "2024-05-03 10:00:00",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
]


@pytest.mark.parametrize(("text", "kind", "value"), SECRETS)
def test_a_secret_is_found_with_its_kind_and_place(text: str, kind: str, value: str) -> None:
    assert [(secret.kind, text[secret.start : secret.end]) for secret in find(text)] == [(kind, value)]


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_what_only_looks_like_a_secret_is_none(text: str) -> None:
    assert find(text) == ()


@pytest.mark.parametrize("text", [text for text, _, _ in SECRETS])
def test_a_secret_is_found_within_other_text(text: str) -> None:
    around = f"Ana said on Monday:\n{text}\nand then she left for Porto."
    assert len(find(around)) == 1
    value = find(text)[0]
    assert text[value.start : value.end] not in masked(around)


def test_several_secrets_are_found_in_order_and_none_inside_another() -> None:
    text = f"password: {GITHUB} and the card 4111 1111 1111 1111 and password: hunter2!"
    found = find(text)
    assert [secret.kind for secret in found] == ["token", "card number", "password"]
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert masked(text) == f"password: {MASK} and the card {MASK} and password: {MASK}"


@how(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_masking_keeps_everything_else(text: str) -> None:
    found = find(text)
    kept = len(text) - sum(secret.end - secret.start for secret in found)
    assert len(masked(text)) == kept + len(MASK) * len(found)
    assert bool(found) == (masked(text) != text)


@how(max_examples=60, deadline=None)
@given(st.text(string.ascii_lowercase + " .,", max_size=300))
def test_plain_words_hold_no_keys_and_no_card_numbers(text: str) -> None:
    assert all(secret.kind == "password" for secret in find(text))


@how(max_examples=60, deadline=None)
@given(st.integers(10**11, 10**12 - 1))
def test_a_number_is_a_card_only_with_its_check_digit(middle: int) -> None:
    cards = [f"424{middle}{check}" for check in range(10)]
    assert sum(bool(find(card)) for card in cards) == 1
