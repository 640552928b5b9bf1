"""The configuration: what is read, and what is said when it can't be."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd import config
from heapsyncd.config import Account, Config, Log
from heapsyncd.errors import ConfigError
from heapsyncd.ids import Password, Seed
from heapsyncd.model import HistoryLimits

ROOT = Path(__file__).parents[1]
PATH = Path("/home/jo/.config/heapsyncd/config.toml")
ENV = {"HOME": "/home/jo"}
GOOD = """\
state_dir = "/var/tmp/state"

[accounts.home]
kind = "heaper"
server = "https://heaper.example/"
folder = "~/Heaps"
key_file = "home.key"
poll_interval = 1

[log]
level = "debug"
"""


def test_reads_every_setting_with_paths_made_absolute() -> None:
    """Values are typed, ~ is HOME, a relative path starts at the file."""
    text = GOOD + "[history]\ndays = 30\n"
    assert config.parse(text, PATH, ENV) == Config(
        path=PATH,
        state_dir=Path("/var/tmp/state"),
        accounts=(
            Account(
                name="home",
                kind="heaper",
                server="https://heaper.example",
                folder=Path("/home/jo/Heaps"),
                secret_file=Path("/home/jo/.config/heapsyncd/home.key"),
                poll_interval_s=1.0,
                history=HistoryLimits(days=30, mb=200.0),
            ),
        ),
        log=Log(level="debug", format="auto"),
    )


def test_defaults_follow_the_xdg_directories() -> None:
    """Without state_dir the state lives below XDG_STATE_HOME; a relative one is ignored."""
    text = GOOD.split("\n", 1)[1]
    xdg = {**ENV, "XDG_STATE_HOME": "/xdg", "XDG_CONFIG_HOME": "/conf"}
    assert config.parse(text, PATH, xdg).state_dir == Path("/xdg/heapsyncd")
    relative = {**ENV, "XDG_STATE_HOME": "xdg"}
    assert config.parse(text, PATH, relative).state_dir == Path("/home/jo/.local/state/heapsyncd")
    assert config.default_path(xdg) == Path("/conf/heapsyncd/config.toml")
    assert config.default_path(ENV) == Path("/home/jo/.config/heapsyncd/config.toml")


ONEHEAP = """\
[accounts.team]
kind = "oneheap"
email = "j.doe@example.com"
folder = "~/Oneheap"
"""


def test_an_account_with_a_password() -> None:
    """Its address is the service's, its password stands beside the file, and it polls rarely."""
    assert config.parse(ONEHEAP, PATH, ENV).accounts == (
        Account(
            name="team",
            kind="oneheap",
            server="https://oneheap.com/service/v1/Api/Rest",
            folder=Path("/home/jo/Oneheap"),
            secret_file=Path("/home/jo/.config/heapsyncd/team.password"),
            email="j.doe@example.com",
            poll_interval_s=60.0,
        ),
    )


def test_the_kind_may_be_left_out() -> None:
    """It is a Heaper server then."""
    text = GOOD.replace('kind = "heaper"\n', "")
    assert config.parse(text, PATH, ENV).accounts == config.parse(GOOD, PATH, ENV).accounts


WRONG = {
    "unknown key": (GOOD.replace("poll_interval", "pol_interval"), "line 8", "poll_interval"),
    "wrong type": (GOOD.replace("= 1", '= "soon"'), "line 8", "`poll_interval` must be a number"),
    "too small": (GOOD.replace("= 1", "= -1"), "line 8", "0.5 to 3600"),
    "not a number": (GOOD.replace("= 1", "= nan"), "line 8", "0.5 to 3600"),
    "a truth value is no number": (GOOD.replace("= 1", "= true"), "line 8", "0.5 to 3600"),
    "unknown kind": (GOOD.replace('"heaper"', '"heeper"'), "line 4", '`kind` must be "heaper"'),
    "not TOML": (GOOD + "this is not toml\n", "line 12", "not valid TOML"),
    "missing key": (re.sub("server = .*\n", "", GOOD), "line 3", "server is missing"),
    "unknown section": (GOOD + "[extra]\nx = 1\n", "line 12", "`extra` is not a setting"),
    "unknown key in [log]": (GOOD + 'colour = "no"\n', "line 12", "[log] `colour`"),
    "wrong days": (
        GOOD + "[history]\ndays = -1\n",
        "line 13",
        "[history] `days` must be a number",
    ),
    "no account": ('[log]\nlevel = "info"\n', "config.toml", "accounts is missing"),
    "empty accounts": ("[accounts]\n", "line 1", "there is no account"),
    "account is no section": ("[accounts]\nhome = 1\n", "line 2", "[accounts.home]"),
    "account's name": (GOOD.replace("accounts.home", 'accounts."a/b"'), "line 3", "letters"),
    "server is no address": (GOOD.replace("https:", "ftp:"), "line 5", "https://"),
    "server's port": (GOOD.replace("example/", "example:x/"), "line 5", "https://"),
    "server with a user": (GOOD.replace("heaper.ex", "jo:pw@heaper.ex"), "line 5", "without user"),
    "another's home": (GOOD.replace("~/", "~bob/"), "line 6", "beginning with ~/"),
    "empty list": (GOOD.replace("poll_interval = 1", "heaps = []"), "line 8", "list of titles"),
    "a password for a Heaper server": (
        GOOD.replace("key_file", "password_file"),
        "line 7",
        'is for `kind = "oneheap"`; an account of a Heaper server signs in with `key_file`',
    ),
    "a key for oneheap": (
        ONEHEAP + 'key_file = "k"\n',
        "line 5",
        'is for `kind = "heaper"`; a oneheap account signs in with `password_file`',
    ),
    "a password itself": (ONEHEAP + 'password = "p"\n', "line 5", "mean `password_file`?"),
    "no e-mail address": (re.sub("email = .*\n", "", ONEHEAP), "line 1", "email is missing"),
    "not an e-mail address": (ONEHEAP.replace("@", " at "), "line 3", "e-mail address"),
    "oneheap live": (ONEHEAP + 'live = "off"\n', "line 5", "tells no changes as they happen"),
    "oneheap line breaks": (ONEHEAP + 'line_breaks = "break"\n', "line 5", "remove the line"),
    "oneheap source": (ONEHEAP + 'source = "local"\n', "line 5", '`source` must be "document"'),
    "oneheap heap by id": (
        ONEHEAP + 'heaps = ["01J8XYZ0ABCDEFGHJKMNPQRSTV"]\n',
        "line 5",
        "an id does not name a box",
    ),
    "overlapping folders": (
        GOOD + '[accounts.b]\nkind = "heaper"\nserver = "http://x"\nfolder = "~/Heaps/b"\n',
        "line 15",
        "overlaps with the folder of [accounts.home]",
    ),
}


@pytest.mark.parametrize(("text", "line", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_named_with_file_line_and_fix(text: str, line: str, says: str) -> None:
    """Every mistake becomes one line that names the file, the line or key and what is expected."""
    with pytest.raises(ConfigError) as caught:
        config.parse(text, PATH, ENV)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(PATH), line, says):
        assert part in message


def test_a_key_in_the_wrong_place_is_not_repeated() -> None:
    """Somebody who writes the key itself where its path belongs does not see it in the message."""
    secret = Seed(bytes(range(32))).reveal_text()
    for text in (
        GOOD.replace("home.key", secret),
        GOOD.replace("key_file = ", f'key = "{secret}" #'),
        GOOD.replace("poll_interval = 1", f'poll_interval = "{secret}"'),
        GOOD.replace('"heaper"', f'"{secret}"'),
    ):
        with pytest.raises(ConfigError) as caught:
            config.parse(text, PATH, ENV)
        assert secret not in str(caught.value)


def test_a_secret_is_never_shown() -> None:
    """An account's repr holds neither key nor password."""
    seed = Seed(bytes(range(32)))
    account = replace(config.parse(GOOD, PATH, ENV).accounts[0], seed=seed)
    assert seed.reveal_text() not in repr(account)
    assert "seed" not in repr(account)
    assert account.__rich_repr__() == [("name", account.name)]
    account = replace(account, password=Password("hunter2"))
    assert "hunter2" not in f"{account!r} {account}"


names = st.from_regex(config.ACCOUNT_NAME, fullmatch=True)
paths = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(
    lambda name: Path("/f") / name.replace("/", "_").replace("..", "_")
)
titles = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
shared = {
    "name": names,
    "server": st.sampled_from(["https://a.example", "http://127.0.0.1:1024/x"]),
    "folder": paths,
    "secret_file": paths,
    "heaps": st.lists(titles, min_size=1).map(tuple),
    "poll_interval_s": st.floats(0.5, 3600),
    "files": st.sampled_from(["all", "on-demand"]),
    "files_limit_mb": st.floats(0, 1e9),
}
accounts = st.one_of(
    st.builds(
        Account,
        kind=st.just("heaper"),
        live=st.sampled_from(["all", "recent", "off"]),
        source=st.sampled_from(["document", "local"]),
        line_breaks=st.sampled_from(["space", "break"]),
        **shared,
    ),
    st.builds(
        Account, kind=st.just("oneheap"), email=st.sampled_from(["j@x", "ü.k+1@y.z"]), **shared
    ),
)


@given(accounts)
def test_a_written_account_reads_back(account: Account) -> None:
    """Parsing what was rendered gives the same account, whatever stands in its names."""
    text = config.render_account(account)
    assert config.parse(text, PATH, ENV).accounts == (account,)


def test_the_example_holds_every_setting() -> None:
    """config.example.toml parses, and shows each setting of each kind of account."""
    text = (ROOT / "config.example.toml").read_text()
    assert [account.name for account in config.parse(text, PATH, ENV).accounts] == ["home"]
    full = re.sub(r"^#(?=[a-z\[])", "", text, flags=re.MULTILINE)
    home, team = config.parse(full, PATH, ENV).accounts
    top = tomllib.loads(full)
    assert set(config.TOP) == set(top)
    assert set(config.ACCOUNT["heaper"]) == set(top["accounts"]["home"])
    assert set(config.ACCOUNT["oneheap"]) == set(top["accounts"]["team"])
    assert set(config.LOG) == set(top["log"])
    # What the example shows is what is used where a setting is left out.
    for shown, required in ((home, "server folder"), (team, "folder email")):
        kept = {k: v for k, v in top["accounts"][shown.name].items() if k in required.split()}
        short = "".join(f"{key} = {value!r}\n" for key, value in kept.items())
        section = f'[accounts.{shown.name}]\nkind = "{shown.kind}"\n{short}'
        assert config.parse(section, PATH, ENV).accounts == (shown,)
