r"""What a secret looks like: the rows that `redaction` goes by. To teach it a new token, add a row to `SHAPES`."""

from __future__ import annotations

import re
from functools import cache

Span = tuple[int, int, str]  # where a secret begins and ends in a text, and its kind


@cache
def regex(pattern: str) -> re.Pattern[str]:
    """The pattern, compiled when it is first needed."""
    return re.compile(pattern)


class Shape:
    """A secret with a form of its own.

    `literals`: each is looked for in the text; one in lower case in any case, one with a capital as it is written.
    `pattern`: what follows the literal. Its group `v`, if any, is the secret, otherwise literal and match together.
    `needs`: a character without which, in the next 600, the pattern need not be tried.
    `then`: characters one of which must follow the literal; without it the pattern is not even compiled.
    `word`: whether the literal must not stand within a word or blob.
    `lead`: how many characters before the literal belong to the secret.
    """

    __slots__ = ("kind", "lead", "literals", "needs", "pattern", "then", "word")

    def __init__(
        self,
        kind: str,
        literals: tuple[str, ...],
        pattern: str,
        *,
        needs: str = "",
        then: str = "",
        word: bool = False,
        lead: int = 0,
    ) -> None:
        self.kind, self.literals, self.pattern = kind, literals, pattern
        self.needs, self.then, self.word, self.lead = needs, then, word, lead


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


E = r"(?![A-Za-z0-9])"
# BY 'x', or BY x1: without a quote the same words stand in prose
IDENTIFIED = (
    r"(?:\s{1,5}[Pp](?:assword|ASSWORD))?(?:\s{1,5}\\{0,7}[\"']|[ \t]{1,5}(?=[^\s\"'\\;]{0,200}[\d!#$%&*+?^~]))"
    r"(?P<v>[^\s\"'\\;]{1,200})"
)

SHAPES: tuple[Shape, ...] = (
    # cloud
    Shape("aws_access_key", ("AKIA", "ASIA", "ABIA", "ACCA"), r"[A-Z0-9]{16}" + E, word=True),
    # forty characters close after their key id
    Shape(
        "aws_secret_key",
        ("AKIA", "ASIA"),
        r"[A-Z0-9]{16}[^A-Za-z0-9/+][\s\S]{0,120}?(?<![A-Za-z0-9/+=_-])"
        r"(?P<v>(?=[^a-z]{0,39}[a-z])(?=[^A-Z]{0,39}[A-Z])(?=[^0-9]{0,39}[0-9])[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=_-])",
    ),
    Shape("aws_session_token", ("IQoJb3JpZ2lu", "FwoGZXIvYXdz", "FQoGZXIvYXdz"), r"[A-Za-z0-9/+=%_-]{20,4096}"),
    Shape("aws_bedrock_key", ("ABSKQmVkcm9ja", "bedrock-api-key-"), r"[A-Za-z0-9+/=]{20,4096}"),
    Shape("google_api_key", ("AIza",), r"[\w-]{35}", word=True),
    Shape("google_oauth_token", ("ya29.", "GOCSPX-"), r"[\w.-]{20,2048}", word=True),
    Shape("google_refresh_token", ("1//0",), r"[\w-]{30,512}", word=True),
    # Entra
    Shape(
        "azure_client_secret",
        ("Q~",),
        r"(?<=[\w~.]{3}\dQ~)(?:(?<![\w~.].{6})|(?<=\\[nrt].{6}))[\w~.-]{31,34}(?![\w~-])",
        lead=4,
    ),
    Shape("databricks_token", ("dapi",), r"[0-9a-f]{32}(?:-\d{1,3})?" + E, word=True),
    # code hosts and registries
    Shape("github_token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"[A-Za-z0-9]{20,255}", word=True),
    Shape("github_token", ("github_pat_",), r"\w{22,255}", word=True),
    Shape(
        "gitlab_token",
        ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", "glimt-", "glagent-", "glffct-", "gloas-"),
        r"[\w.-]{15,320}",
        word=True,
    ),
    Shape("gitlab_token", ("GR1348941",), r"[\w-]{20}", word=True),
    Shape("npm_token", ("npm_",), r"[A-Za-z0-9]{30,255}", word=True),
    Shape("pypi_token", ("pypi-",), r"[\w-]{40,1000}", word=True),
    # chat, mail, payments, models, operations
    Shape("slack_token", ("xox",), r"[a-z](?:\.xox[a-z])?-[A-Za-z0-9%-]{8,512}", needs="-", word=True),
    Shape("slack_token", ("xapp-",), r"\d-[A-Za-z0-9-]{8,512}", word=True),
    # who has one of these addresses can post
    Shape("slack_webhook", ("hooks.slack.com",), r"/(?P<v>(?:services|workflows|triggers)/[\w/+-]{8,200})"),
    Shape("slack_webhook", ("/services/T",), r"[A-Z0-9]{5,12}/(?P<v>B[A-Z0-9]{5,12}/\w{20,40})"),
    Shape("teams_webhook", ("webhook.office.com",), r"/(?P<v>webhookb2/[\w/@-]{20,400})"),
    Shape("discord_webhook", ("/api/webhooks/",), r"(?P<v>\d{5,30}/[\w-]{20,200})"),
    Shape("sendgrid_key", ("SG.",), r"[\w-]{16,64}\.?[\w.-]{16,128}", word=True),
    Shape("twilio_key", ("SK",), r"[0-9a-fA-F]{32}" + E, word=True),
    Shape(
        "stripe_key",
        ("sk_live_", "sk_test_", "sk_prod_", "rk_live_", "rk_test_", "rk_prod_", "whsec_"),
        r"[A-Za-z0-9+/=]{10,255}",
        word=True,
    ),
    # OpenAI, Anthropic
    Shape("model_api_key", ("sk-",), r"(?=[\w-]{0,50}\d)[\w-]{20,255}", word=True),
    Shape("huggingface_token", ("hf_",), r"[A-Za-z0-9]{30,40}" + E, word=True),
    Shape("vault_token", ("hvs.", "hvb.", "hvr."), r"[\w-]{20,1000}", word=True),
    Shape("dbt_token", ("dbtc_", "dbtu_", "dbts_"), r"[\w-]{20,200}", word=True),
    Shape("age_key", ("AGE-SECRET-KEY-1",), r"[A-Z0-9]{58}"),
    Shape("docker_token", ("dckr_pat_", "dckr_oat_"), r"[\w-]{20,255}", word=True),
    Shape("token", ("shpat_", "shpca_", "shppa_", "shpss_"), r"[0-9a-fA-F]{32}" + E, word=True),
    # Linear, Doppler, Notion, Grafana, Sentry, Sourcegraph, Heroku, Perplexity
    Shape(
        "token",
        ("lin_api_", "dp.pt.", "ntn_", "glc_", "glsa_", "sntrys_", "sgp_", "HRKU-", "pplx-"),
        r"(?=[A-Za-z_-]{0,100}\d)[\w+/=-]{20,512}",
        word=True,
    ),
    Shape("facebook_token", ("EAA",), r"[A-Za-z0-9]{80,500}" + E, word=True),
    Shape("token", ("secret_",), r"[A-Za-z0-9]{43}" + E, word=True),  # Notion
    Shape("api_key", ("routing_key", "integration/"), r"[\\\"'\s:=]{0,8}(?P<v>[0-9a-f]{32})" + E),  # PagerDuty
    Shape(
        "authorization", ("digest user",), r"[^\n]{0,400}?response=\\{0,7}[\"'](?P<v>[0-9a-f]{32,64})\\{0,7}[\"']"
    ),  # of a Digest
    Shape("mailgun_key", ("key-",), r"[0-9a-f]{32}" + E, word=True),
    # headers and tickets
    Shape("jwt", ("eyJ",), r"[\w-]{8,300}\.[\w-]{4,8192}(?:\.[\w-]{0,4096}){0,3}", needs=".", word=True),
    Shape("jwt", ("ZXlK",), r"[A-Za-z0-9+/_-]{40,8192}={0,2}", word=True),  # in base64 once more
    # a digit tells it from "bearer token"
    Shape(
        "bearer_token",
        ("bearer",),
        r"(?:\s|%20|\+){1,4}(?P<v>(?=[A-Za-z_.~+/=:-]{0,200}\d)[\w.~+/=:-]{8,8192})",
        word=True,
    ),
    # checked by decoding
    Shape("basic_auth", ("basic ",), r"\s{0,3}(?P<v>[A-Za-z0-9+/]{6,2000}={0,2})", word=True),
    # Cookie and Set-Cookie, to the end of the value
    Shape(
        "cookie",
        ("cookie",),
        r"2?\\{0,7}[\"']?\s{0,3}[:=,]\s{0,3}\\{0,7}[\"']?(?P<v>[^\s\"'=;,\\]{1,200}=[^\n\"'\\]{4,8192})",
        needs="=",
    ),
    # user:password@host, whatever the scheme, a raw / or @ in it included
    Shape(
        "password",
        ("://", ":\\/\\/"),
        r"[^\s/:@\"'<>\\]{0,200}:(?P<v>[^\s/\"'<>]{1,256}|(?!\d{1,5}[/?#])(?:(?!:\\?/\\?/)[^\s\"'<>]){1,256})"
        r"@(?=[\w.\[%*$-])",
        needs="@",
    ),
    # token@host
    Shape("token", ("://",), r"(?P<v>(?=[A-Za-z_.~%+-]{0,200}\d)[\w.~%+-]{20,512})@(?=\w)", needs="@"),
    # jdbc:oracle:thin:user/password@
    Shape("password", ("thin:",), r"[^\s/@:\"']{1,100}/(?P<v>[^\s@\"']{1,200})@", needs="@"),
    # presigned addresses: S3, Google Cloud Storage, Azure SAS, and the AWS4 header
    Shape(
        "signature",
        ("signature", "x-amz-credential", "x-amz-security-token"),
        r"(?:=\\{0,7}[\"']?|%3[Dd]|\\u003[Dd]|\\{0,7}[\"']:\s?\\{0,7}[\"'])(?P<v>[\w%+/=.~-]{16,8192})",
    ),
    Shape("signature", ("sig=",), r"(?:(?<=[?&;]....)|(?<=\\u0026....))(?P<v>[\w%+/=.~-]{16,8192})"),
    Shape("signature", ("sig%3d",), r"(?:(?<=[?&;].{6})|(?<=%26.{6}))(?P<v>[\w%+/=.~-]{16,8192})"),
    # ?key= of Google's older interfaces
    Shape("api_key", ("?key=", "&key="), r"(?P<v>(?=[A-Za-z_-]{0,200}\d)[\w-]{20,200})" + E),
    # personal access tokens by name
    Shape(
        "token", ("_pat=", "_pat:", "_pat'", '_pat"'), r"[\s\"':=]{0,4}(?P<v>(?=[A-Za-z_.-]{0,200}\d)[\w.-]{20,1000})"
    ),
    # -p of the clients whose -p is a password; after a blank it is the database that mysql asks a password for
    Shape(
        "password", ("mysql",), r"[^\n|;]{0,180}?[\s\"']-p[\"']?(?P<v>(?!ort\b)[^\s\"',-][^\s\"',]{0,200})", needs="-"
    ),
    Shape(
        "password",
        ("mongo", "sshpass", "docker login", "beeline", "az login", "7z "),
        r"[^\n|;]{0,180}?[\s\"']-p(?!ort\b)[\s\"',]{0,5}(?P<v>(?!\d{1,5}(?!\w))[^\s\"',-][^\s\"',]{0,200})",
        needs="-",
    ),
    # -a, -P, -w of the clients whose option is a password
    Shape(
        "password",
        ("redis-cli", "sqlcmd", "ldapsearch", "unzip", "bcp "),
        r"[^\n|;]{0,180}?[\s\"']-[aPw][\s\"',]{0,5}(?P<v>[^\s\"',-][^\s\"',]{2,200})",
        needs="-",
    ),
    Shape(
        "password",
        ("curl",),
        r"[\s\"'][\s\S]{0,180}?(?<=[\s\"'])(?:-u|(?:-u|--user|--proxy-user)[\s\"',=]{1,5})[^\s\"':]{0,100}\"?:\"?"
        r"(?P<v>[^\s\"']{2,200})",
        needs="-",
    ),
    Shape(
        "password",
        ("lftp",),
        r"[\s\"'][^\n|;]{0,180}?-u[\s\"',]{1,5}[^\s\"',]{1,100},(?P<v>[^\s\"',]{2,200})",
        needs=",",
    ),
    Shape("password", ("mc alias set",), r"(?:\s{1,3}[^\s\"']{1,200}){3}\s{1,3}[\"']?(?P<v>[^\s\"']{4,200})"),
    # sqlplus user/password@name
    Shape(
        "password",
        ("sqlplus", "sqlldr"),
        r"[^\n|;]{0,80}?[\s\"'=][\w.$#]{1,60}/(?P<v>[^\s/@\"']{1,128})@",
        needs="@",
    ),
    # echo password | client that reads it
    Shape(
        "password",
        ("echo ",),
        r"(?:-n )?[\"']?(?P<v>[^\s\"'|]{6,200})[\"']?\s{0,3}\|\s{0,3}[\w. -]{0,30}"
        r"(?:login|kinit|sudo -S|gpg|openssl|passwd|base64 -[dD])",
        needs="|",
    ),
    # mail and file transfer: AUTH PLAIN dXNl…, PASS x, login('user', 'x')
    Shape("password", ("auth plain ", "auth login "), r"(?P<v>[A-Za-z0-9+/]{8,2000}={0,2})"),
    Shape("password", ("PASS ",), r"(?:(?<=[\"'`]PASS )|(?<=[>:] PASS ))(?P<v>[^\s\"'\\]{4,200})"),
    Shape(
        "password", (".login(",), r"(?:\w{1,20}=)?[\"'][^\"'\n]{1,100}[\"'], ?(?:\w{1,20}=)?[\"'](?P<v>[^\"'\n]{1,200})"
    ),
    Shape("password", ("LOGIN ",), r"\"?[^\s\"@]{1,100}@[^\s\"]{1,100}\"? \"(?P<v>[^\"\n]{1,200})\""),
    Shape("password", ("to-securestring",), r" [\"'](?P<v>[^\"'\n]{1,200})"),
    Shape("password", ("put-parameter",), r"[^\n]{0,300}?--value[ =][\"']?(?P<v>[^\s\"']{4,200})", needs="-"),
    # .connect('host', 'user', 'x'), connect('user/x@name')
    Shape(
        "password",
        (".connect(", ">connect("),
        r"[\"'][^\"'\n]{1,100}[\"'], ?[\"'][^\"'\n]{1,60}[\"'], ?[\"'](?P<v>[^\"'\n]{1,200})",
        then="\"'",
    ),
    Shape("password", (".connect(",), r"[\"'][\w$#.]{1,60}/(?P<v>[^\s/@\"']{1,128})@", needs="@", then="\"'"),
    Shape("authorization", ("ntlm ", "negotiate "), r"(?P<v>(?:TlRM|YII)[A-Za-z0-9+/=]{16,4096})"),
    # .pgpass: host:port:database:user:password
    Shape("password", (":5432:", ":5439:"), r"[^\s:]{1,63}:[^\s:/]{1,63}:(?P<v>[^\s\"']{4,200})"),
    # PuTTY's form of a private key
    Shape(
        "private_key",
        ("Private-Lines:",),
        r"\s\d{1,3}(?P<v>(?:[\\rn\s]{1,4}[A-Za-z0-9+/=]{4,80}){1,60}?)(?=[\\rn\s]{1,4}Private-)",
    ),
    # CREATE USER … IDENTIFIED BY, IDENTIFIED WITH plugin BY
    Shape("password", ("identified by",), IDENTIFIED),
    Shape("password", ("identified with",), r"\s{1,5}\S{1,60}\s{1,5}[Bb][Yy]" + IDENTIFIED),
)

# Words that name a secret. "key" does so only after an owner (`api_key`, not `sort_key`).
NAMES = ("pass", "pwd", "secret", "token", "key", "cred", "auth")
SHORT_NAMES = ("pw=", "pw =", "pw:", "pw'", 'pw"')  # "pw" with what follows it: alone it would stand nearly everywhere
# What may stand before "pass" without a break: dbpass, storepass, not bypass.
PASS_OWNERS = ("db", "user", "root", "admin", "store", "key", "ftp", "smtp", "ldap", "mail", "sql", "my")
KEY_OWNERS = (
    *("api", "access", "private", "account", "encryption", "decryption", "signing", "shared", "master", "symmetric"),
    *("app", "application", "auth", "service", "storage", "subscription", "license", "fernet", "ssh", "rsa", "deploy"),
    *("functions", "consumer", "hmac", "session", "write", "admin", "client", "bot"),
)
# What may follow the word without a break; anything else makes it another word: passenger, tokenizer, keyword.
NAME_ENDINGS = (
    *("words", "word", "wds", "wd", "phrase", "code", "entials", "ential", "data", "d", "string", "s", "ed", "key"),
    *("value", "text", "token", "base64", "orization", "access_key", "accesskey", ""),
)
AUTH_ENDINGS = ("code", "header", "string", "data", "value", "basic", "userinfo", *"0123456789")
# Names about a secret rather than of one: secret_name, token_count, KmsKeyId.
ABOUT = _words(
    """id ids name names arn arns count counts type types uri url urls uris path paths file files filename length len
    size limit budget usage used version ttl policy manager provider providers backend backends field fields column
    columns format endpoint status error errors scope scopes alg algorithm rotation enabled required index method
    methods mode lifetime timeout created updated alias label description region class source hint at
    change changed date days age history strength prompt stdin"""
)
SIGNS = (
    *("==>", "==", "=>", "=", ":::=", "::=", ":: ", ":=", "?=", "+=", ".=", ":", ",", "|", "│", "->"),
    *("%3D", "%3d", "%3A", "%3a", "\\u003D", "\\u003d"),
)
# What an Authorization header says before the secret itself.
SCHEMES = _words(
    """basic bearer token api-token apitoken api-key apikey digest splunk sharedkey sharedkeylite genie genie-key
    geniekey ssws negotiate ntlm oauth sso-key hmac aws"""
)
# Values that are no secret whatever the name: words of prose and settings …
NO_VALUES = _words(
    """none null nil true false yes no str string bytes int optional required missing invalid expired empty unset
    default not is was and or the for in must cannot failed basic bearer iam sasl oauth oauth2 password self args kwargs
    masked hidden redacted filtered disable disabled enabled aws4-hmac-sha256 text via pw pwd passwd"""
)
# … templates, variables, ARNs, placeholders …
NO_VALUE_STARTS = ("arn:", "${", "%(", "<", "REDACTED", "[REDACTED", "[hidden", "[masked", "['", '["', "[]")
# … and attributes, in code that a traceback shows.
CODE_OWNERS = _words("self cls conn connection os config conf settings args kwargs var env context")
