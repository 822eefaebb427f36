"""Secrets go, what only looks like one stays. Fake secrets are put together here, so that no scanner takes them up."""

import base64
import json
import random
import re
import string
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_de_agent import bootstrap
from airflow_de_agent.core.redaction import PLACEHOLDER, Redactor
from airflow_de_agent.core.redaction_search import LITERALS
from airflow_de_agent.settings import Settings

dice = random.Random(20261122)


def chars(count, alphabet=string.ascii_letters + string.digits):
    """`count` random characters, a digit, a small and a capital letter among them where the alphabet has them."""
    while True:
        text = "".join(dice.choices(alphabet, k=count))
        classes = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
        if all(set(text) & set(c) for c in classes if set(alphabet) & set(c)):
            return text


HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits
PASSWORD = "Tr0ub" + "4dor&" + "3"
PLAIN = "hun" + "ter"
MIXED = "f4ke" + "RwtYFp#QGueYV"
KEY_ID = "AK" + "IA" + chars(16, UPPER)
SECRET_KEY = chars(40)
HEX32 = chars(32, HEX)
JWT = "ey" + "J" + chars(30) + "." + "ey" + "J" + chars(60) + "." + chars(43)
BASIC = base64.b64encode(f"etl:{PASSWORD}".encode()).decode()
BODY = [chars(64) for _ in range(6)] + [chars(30) + "=="]
BEGIN, END = "-----BEGIN RSA " + "PRIVATE KEY-----", "-----END RSA " + "PRIVATE KEY-----"

SELF_EVIDENT = {
    "aws_access_key": KEY_ID,
    "aws_access_key/temporary": "AS" + "IA" + chars(16, UPPER),
    "aws_session_token": "IQoJ" + "b3JpZ2lu" + chars(300),
    "google_api_key": "AI" + "za" + chars(35),
    "google_oauth_token": "ya" + "29." + chars(60),
    "google_oauth_token/client": "GOC" + "SPX-" + chars(28),
    "azure_client_secret": chars(3) + "8" + "Q~" + chars(34),
    "databricks_token": "da" + "pi" + chars(32, HEX),
    "github_token": "gh" + "p_" + chars(36),
    "github_token/fine": "github" + "_pat_" + chars(22) + "_" + chars(59),
    "gitlab_token": "gl" + "pat-" + chars(20),
    "npm_token": "np" + "m_" + chars(36),
    "pypi_token": "py" + "pi-AgEIcHlwaS5vcmc" + chars(60),
    "slack_token": "xo" + "xb-214748364701-3849201746582-" + chars(24),
    "slack_token/app": "xa" + "pp-1-A012345-6789-" + chars(40),
    "sendgrid_key": "S" + "G." + chars(22) + "." + chars(43),
    "twilio_key": "S" + "K" + chars(32, HEX),
    "stripe_key": "sk" + "_live_" + chars(24),
    "model_api_key": "sk" + "-proj-" + chars(48),
    "model_api_key/anthropic": "sk" + "-ant-api03-" + chars(80),
    "facebook_token": "EA" + "AM" + chars(160),
    "token": "nt" + "n_" + chars(46),
    "vault_token": "hv" + "s." + chars(24),
    "dbt_token": "dbt" + "c_" + chars(40),
    "jwt": JWT,
}

IN_CONTEXT = {
    "python repr of kwargs": ("connect(host='h', password='{}', port=5439)", PASSWORD),
    "repr of a dict": ("kwargs: {{'user': 'ETL', 'password': '{}', 'account': 'acme'}}", PASSWORD),
    "repr of a dataclass": ("Connection(login='etl', password='{}', extra=None)", PLAIN),
    "repr with double quotes": ("{{'password': \"{}\"}}", "it's" + "-4-me"),
    "connection string": ("Driver=Redshift;Server=h;Password={};Port=1", PASSWORD),
    "JSON": ('{{"db_password": "{}"}}', PASSWORD),
    "JSON within a JSON log line": ('{{"event":"{{\\"password\\": \\"{}\\"}}","level":"info"}}', PASSWORD),
    "JSON within JSON within JSON": ('{{"event":"\\"{{\\\\\\"token\\\\\\": \\\\\\"{}\\\\\\"}}\\""}}', HEX32),
    "YAML": ("  password: {}", PASSWORD),
    "YAML in quotes": ("  password: '{}'", PLAIN),
    "environment": ("PGPASSWORD={} psql -h h", PLAIN),
    "upper case": ("export SNOWFLAKE_PASSWORD={}", PASSWORD),
    "environment as a list of names and values": ("[{{'name': 'DB_PASSWORD', 'value': '{}'}}]", PLAIN),
    "option": ("snowsql --password {} -q x", PLAIN),
    "option with equals sign": ("tool --token={} --yes", HEX32),
    "option in an argv list": ("['tool', '--password', '{}']", PLAIN),
    "mysql": ("mysql -u etl -p{} -h db", PASSWORD),
    "docker login": ("docker login -u etl -p {} registry", PASSWORD),
    "sshpass": ("sshpass -p {} ssh h", PASSWORD),
    "curl": ("curl -s -u etl:{} https://h", PASSWORD),
    "create user": ("CREATE USER etl IDENTIFIED BY '{}'", PLAIN),
    "alter user": ("ALTER USER etl PASSWORD '{}'", PLAIN),
    "COPY with keys": ("ACCESS_KEY_ID '" + KEY_ID + "' SECRET_ACCESS_KEY '{}'", SECRET_KEY),
    "COPY with credentials": (
        "CREDENTIALS 'aws_access_key_id=" + KEY_ID + ";aws_secret_access_key={};token=x'",
        SECRET_KEY,
    ),
    "COPY with a token": ("SESSION_TOKEN '{}'", chars(80)),
    "UNLOAD with a master key": ("MASTER_SYMMETRIC_KEY '{}' ENCRYPTED", chars(43) + "="),
    "secret key near its id": (KEY_ID + " / {}", SECRET_KEY),
    "aws configuration": ("aws_secret_access_key = {}", SECRET_KEY),
    "botocore": ("Credentials(access_key=x, secret_key='{}')", SECRET_KEY),
    "postgresql URI": ("postgresql+psycopg2://etl:{}@host:5432/db", PLAIN),
    "URI, percent-encoded": ("mysql://etl:{}@host/db", quote(PASSWORD, safe="")),
    "URI with a raw slash and at": ("snowflake://etl:{}@acme/db", "p@ss/" + "w0rd"),
    "URI without a user": ("redis://:{}@cache:6379/0", PLAIN),
    "URI in JSON with escaped slashes": ('"https:\\/\\/etl:{}@host\\/x"', PASSWORD),
    "token as user": ("https://{}@git.example.com/x.git", HEX32),
    "oracle thin": ("jdbc:oracle:thin:scott/{}@//h:1521/x", PLAIN),
    "oracle easy connect": ("dsn etl/{}@//ora-prod:1521/ERP", PLAIN),
    "oracle easy connect in quotes": ("connect('etl/{}@//ora-prod:1521/ERP')", PASSWORD),
    "sqlplus": ("sqlplus -S etl/{}@ERP @load.sql", PLAIN),
    "identified without quotes": ("CREATE USER etl IDENTIFIED BY {}", MIXED),
    "identified with a plugin": ("CREATE USER etl IDENTIFIED WITH mysql_native_password BY '{}'", PLAIN),
    "bearer": ("Authorization: Bearer {}", chars(40)),
    "bearer in a repr": ("{{'Authorization': 'Bearer {}'}}", chars(40)),
    "basic": ("Authorization: Basic {}", BASIC),
    "api key header": ("x-api-key: {}", HEX32),
    "datadog": ("DD_API_KEY={}", HEX32),
    "cookie": ("Cookie: session={}; theme=dark", HEX32),
    "set-cookie": ("Set-Cookie: sid={}; Path=/; HttpOnly", HEX32),
    "S3 presigned": ("https://b.s3.amazonaws.com/k?X-Amz-Expires=3600&X-Amz-Signature={}", chars(64, HEX)),
    "S3 presigned, older": ("?AWSAccessKeyId=" + KEY_ID + "&Signature={}&Expires=1", chars(27) + "%3D"),
    "S3 session": ("?X-Amz-Security-Token={}&x=1", chars(200)),
    "Azure SAS": ("https://a.blob.core.windows.net/c?sv=2024&sig={}&se=1", chars(42) + "%3D"),
    "Azure account key": ("AccountName=a;AccountKey={};EndpointSuffix=x", chars(86) + "=="),
    "GCS presigned": ("?X-Goog-Algorithm=x&X-Goog-Signature={}", chars(256, HEX)),
    "slack webhook": ("https://hooks.slack.com/services/{}", "T012/B345/" + chars(24)),
    "snowflake private key": ("private_key='{}'", "MII" + chars(600)),
    "service account": ('"private_key_id": "x", "private_key": "{}"', "\\n".join([BEGIN, *BODY, END, ""])),
    "vault": ("VAULT_TOKEN=s.{}", chars(24)),
    "XML": ("<password>{}</password>", PLAIN),
    "XML character data": ("<Password><![CDATA[{}]]></Password>", PLAIN),
    "XML as name and value": ("<name>jdo.ConnectionPassword</name><value>{}</value>", PLAIN),
    "YAML as name and value": ("- name: DB_PASSWORD\n  value: {}\n", PLAIN),
    "YAML in the next line": ("password: >-\n  {}\n", MIXED),
    "option in the next line": ("--password \\\n  {} \\\n", MIXED),
    "CloudFormation": ('{{"ParameterKey": "DBPassword", "ParameterValue": "{}"}}', PLAIN),
    "Parameter Store": ('{{"Name": "/db/password", "Type": "SecureString", "Value": "{}"}}', PLAIN),
    "list in a dict": ("{{'password': ['{}']}}", MIXED),
    "list of pairs": ("[('user', 'etl'), ('password', '{}')]", MIXED),
    "tuple of Erlang": ('{{password,"{}"}}', MIXED),
    "ODBC in braces": ("UID=etl;PWD={{{}}};Encrypt=yes", MIXED),
    "no digit after a colon": ("Login: ftp, Password: {}, extra: x", MIXED),
    "prose": ("Using password {} for etl", MIXED),
    "prose of Airflow": ("Password for user 'admin': {}", MIXED),
    "prose of a reset": ("Reset password for user 'admin': {}", MIXED),
    "prose with a verb": ("The password is {}", MIXED),
    "netrc": ("machine h login etl password {}", MIXED),
    "table": ("| password      | {} |", MIXED),
    "table of psql": ("   password | {}", MIXED),
    "colours of a terminal": ("\x1b[32mpassword\x1b[0m=\x1b[33m{}\x1b[0m", PLAIN),
    "percent-encoded JSON": ("%7B%22password%22%3A%22{}%22%7D", PLAIN),
    "LDIF": ("userPassword:: {}", chars(24)),
    "name of two letters": ("    pw = '{}'", PLAIN),
    "name without a break": ("keytool -storepass {} -list", PLAIN),
    "begins like a word": ("password=or!{}", PLAIN),
    "pgpass": ("db.acme.io:5432:dwh:etl:{}", PLAIN),
    "Go": ("dsn=etl:{}@tcp(db:3306)/x", PLAIN),
    "PHP": ('["password"]=> string(14) "{}"', PLAIN),
    "Scala": ("Map(password -> {})", MIXED),
    "Digest": ('Authorization: Digest username="etl", response="{}"', HEX32),
    "another scheme": ("Authorization: Splunk {}", HEX32),
    "SMTP": ("send: 'AUTH PLAIN {}\\r\\n'", BASIC),
    "FTP": ("*cmd* 'PASS {}'", PLAIN),
    "login of a client": ("server.login('etl@acme.io', '{}')", PLAIN),
    "connect by position": ("psycopg.connect('db', 'etl', '{}')", PLAIN),
    "echo to a client": ("echo {} | docker login --password-stdin", PLAIN + "f4ke"),
    "key in a query": ("geocode/json?address=x&key={}", chars(39)),
    "SQL Server": ("CREATE LOGIN etl WITH PASSWORD = N'{}'", PLAIN),
    "set password": ("SET PASSWORD FOR 'etl'@'%' = '{}'", PLAIN),
    "pair of Spark": ("(spark.hadoop.fs.s3a.secret.key,{})", SECRET_KEY),
    "key in prose": ("api key = {}", HEX32),
    "prose of Airflow's CLI": ("Added variable secret_key with value {}", chars(32)),
    "dots as a table": ('HikariConfig - password......................"{}"', MIXED),
    "plan of Terraform": ('~ password = "{}" -> "x{}"'.replace("x{}", "new" + PLAIN), PLAIN),
    "Vault": ("vault write auth/approle/login secret_id={}", "-".join(chars(n, HEX) for n in (8, 4, 4, 4, 12))),
    "lftp": ("lftp -u etl,{} sftp://h", PLAIN),
    "mc": ("mc alias set lake http://minio:9000 etl {}", PLAIN),
    "oracle with its port": ("source etl/{}@ora-scan:1521/SVC", PLAIN),
    "JWT in base64": ("got {} back", base64.b64encode(JWT.encode()).decode()),
    "slack webhook without its host": ("url: /services/{}", "T012345/B345678/" + chars(24)),
}

STAYS = """\
21:03:11  Done. PASS=12 WARN=0 ERROR=1 SKIP=3 TOTAL=16
token_count=5, max_tokens=4000, total_tokens: 123456, 'completion_tokens': 812
password is wrong; the password must not be empty; Password: incorrect
secret_name=de-agent/slack SecretId: prod/warehouse secret_arn=x
arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCd12 is not authorized
arn:aws:iam::123456789012:role/etl and CREDENTIALS 'aws_iam_role=arn:aws:iam::123456789012:role/copy'
FATAL:  password authentication failed for user "etl"
login='etl' password='***' extra='***' password=*** postgresql://etl:***@host/db
run 0f8e6b9c-3a1d-4e5f-8b7a-9c0d1e2f3a4b of commit 9f3c2b7a1d5e8f604b2c7d9e1a3f5b6c8d0e2f4a
sha256:9f3c2b7a1d5e8f604b2c7d9e1a3f5b6c8d0e2f4a6b8c0d1e3f5a7b9c1d2e4f60 md5=d41d8cd98f00b204e9800998ecf8427e
s3://acme-lake/raw/orders/dt=2026-11-22/part-00001.parquet s3_key=raw/a1b2c3/part-1.csv key: raw/2026/a1.csv
kms_key_id=1234abcd-12ab-34cd-56ef-1234567890ab KmsKeyId: alias/etl-1 partition_key='2026-11-22' KeyError: 'order_id'
    conn = connect(password=conn.password, token=get_token(x), secret=os.environ["SECRET"])
    password = BaseHook.get_connection("redshift").password
json.decoder.JSONDecodeError: Unexpected token: < at position 5; unexpected token 'else'
Connection Retrieved 'aws_default' (conn_type='aws') credentials retrieved from login and password.","try_number":1
{"event":"Secrets backends loaded for worker","count":1,"backend_classes":["EnvironmentVariablesBackend"]}
payload eyJ0YWJsZSI6Im9yZGVycyIsInJvd3MiOjEyMzQ1Njc4OTB9 decoded, aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=
GET http://localhost:8080/foo@bar and https://example.com:443/a/b?x=1 with basic authentication, bearer token
task_id=load_tokens dag_id=rotate_secrets table dim_password_policy tokenizer=gpt2 author=etl compass=5 bypass: true
password for user "etl_v2" has expired; Password for user etl_v2: authentication failed; password is: required
password_changed_at=2026-11-22 10:00:00 last_password_change = 2026-11-22 PWD=/usr/local/airflow OLDPWD=/tmp
usage: etl [-h] [--password PASSWORD] [--token TOKEN] --password TEXT; using --password via the CLI is insecure
    credentials = boto3.Session().get_credentials(); df['password'] = df['password'].fillna(''); self.pw = pw
SELECT 1 FROM u, t WHERE u.password = t.password; | token | varchar(64) |; ssl.keystore.password = [hidden]
--- PASS: TestLoadV2 (0.01s) and {"columns": ["password", "token2"]} and {"password": ["This field is required."]}
Running <TaskInstance: rotate_secrets.rotate_password manual__2026-11-22T00:00:00+00:00 [running]>
conn = f"Driver=x;UID={user};PWD={password}" with logits pw=2.31 npw: 4
dsn /@//ora-prod:1521/ERP and etl/***@//ora-prod:1521/ERP; see https://example.com/a/b@//c
auth_type=oauth2 authenticator='snowflake' grant_type=client_credentials token_url=https://h/oauth2/token
mysql -h db -u root -p raw_2026; docker login -u etl --password-stdin registry.acme.io; curl -u "$USER:$PASSWORD" https://h
credentialsId: 'f4aeb6bc-2a25-458a-8111-9be9e502c0e7' passwordField=col_2026 (t.token,column_2) and secret_id: prod/dwh2
def f(credentials: ReadOnlyCredentials, continuation_token: logs.ContinuationToken | None) if auth == "DISABLED"
rows identified by order_id; a table identified by its name
storage key: raw/2026/a1.csv; API key rotation of 2026 done; Checking password.......... FAILED; etl/***@ora:1521/SVC
user etl@ora-scan:1521/SVC and https://h/x1y2z3/a@ora-scan:1521; SET PASSWORD FOR 'etl'@'%' = PASSWORD(?)
User "etl" has no PRIVATE KEY set; PASSWORD DISABLE; password=${DB_PASSWORD} token={{ var.value.token }} $TOKEN
""".splitlines()


def redacted(text, **options):
    return Redactor(**options).redact(text)


@pytest.mark.parametrize("kind", SELF_EVIDENT)
@pytest.mark.parametrize("frame", ["{}", "got {} back", '{{"x":"{}"}}', "a={}&b=1", "https://h/x?k={}", "\\n{}\\n"])
def test_a_secret_with_a_form_of_its_own_goes_wherever_it_stands(kind, frame):
    """A token that is known by its form is replaced in prose, JSON, a query and between escaped newlines."""
    text = redacted(frame.format(SELF_EVIDENT[kind]))
    assert SELF_EVIDENT[kind] not in text
    assert f"[REDACTED:{kind.split('/')[0]}#1]" in text


@pytest.mark.parametrize("context", IN_CONTEXT)
def test_a_secret_that_is_told_by_its_context_goes(context):
    """A value without a form of its own is replaced where its name, place or command tells that it is a secret."""
    frame, secret = IN_CONTEXT[context]
    text = redacted(frame.format(secret))
    assert secret not in text
    assert "[REDACTED:" in text


@pytest.mark.parametrize("line", STAYS)
def test_what_only_looks_like_a_secret_stays(line):
    """Ids, hashes, paths, ARNs, code and prose about secrets are left as they are."""
    assert redacted(line) == line


def test_equal_secrets_get_equal_placeholders():
    """A secret assigned once is replaced by the same placeholder where it stands alone; another one gets another."""
    redactor = Redactor()
    text = redactor.redact(f"password='{PASSWORD}'\nretry with {PASSWORD} failed\npassword='{PLAIN}'")
    assert (
        text
        == "password='[REDACTED:password#1]'\nretry with [REDACTED:password#1] failed\npassword='[REDACTED:password#2]'"
    )
    assert redactor.redact(f"again: {PASSWORD}") == "again: [REDACTED:password#1]"


def test_standing_placeholders_are_kept_and_their_numbers_not_given_again():
    """Text that another redactor has been over keeps its placeholders, and new secrets get new numbers."""
    text = redacted(f"password=[REDACTED:password#3] then password={PASSWORD}")
    assert text == "password=[REDACTED:password#3] then password=[REDACTED:password#4]"


@pytest.mark.parametrize("prefix", ["", "[2026-11-22T10:00:00.000+0000] {subprocess.py:106} INFO - "])
@pytest.mark.parametrize("cut", ["whole", "begin cut", "end cut"])
def test_a_private_key_over_many_lines_goes(prefix, cut):
    """All lines of a key go, with log prefixes too, and when the text was cut at a line before its BEGIN or its END."""
    lines = [
        prefix + line
        for line in {"whole": [BEGIN, *BODY, END], "begin cut": [*BODY, END], "end cut": [BEGIN, *BODY]}[cut]
    ]
    text = redacted("\n".join(["first line", *lines, "last line: done"]))
    assert not any(part in text for part in BODY)
    assert text.count("\n") == len(lines) + 1
    assert text.startswith("first line\n") and text.endswith("\nlast line: done")


@pytest.mark.parametrize("cut", ["whole", "begin cut", "end cut"])
@pytest.mark.parametrize("newline", ["\\n", "\\\\n"])
def test_a_private_key_in_one_line_goes(newline, cut):
    """A key whose newlines are escaped goes, once or twice escaped, whole or cut."""
    lines = {"whole": [BEGIN, *BODY, END, ""], "begin cut": [*BODY, END, ""], "end cut": [BEGIN, *BODY]}[cut]
    text = redacted(json.dumps({"event": "X"})[:-1] + ', "k": "' + newline.join(lines) + '", "z": 1}')
    assert not any(part in text for part in BODY)
    assert text.endswith('"z": 1}')


def test_email_addresses_go_by_option_only():
    """Addresses of people are personal data, not secrets: they stay unless asked for."""
    line = "mail to ann.lee+etl@data.example.com failed"
    assert redacted(line) == line
    assert redacted(line, emails=True) == "mail to [REDACTED:email#1] failed"


def test_the_option_for_email_addresses_holds_for_the_whole_process():
    """Where the option is set, no part of the program lets an address through."""
    line = "mail to ann.lee+etl@data.example.com failed"
    try:
        bootstrap.Parts(Settings(redact_emails=True))
        assert redacted(line) == "mail to [REDACTED:email#1] failed"
    finally:
        bootstrap.Parts(Settings())
    assert redacted(line) == line


def test_a_long_text_is_searched_as_a_short_one():
    """The gates of long texts find what the plain search of short ones finds."""
    lines = [frame.format(secret) for frame, secret in IN_CONTEXT.values()]
    lines += [f"got {secret} back" for secret in SELF_EVIDENT.values()]
    filler = "INFO - wrote rows to the table of the day before\n" * 6000
    long = redacted(filler + "\n".join(lines) + "\n" + filler)
    assert not [
        x for x in (*SELF_EVIDENT.values(), *(s for _, s in IN_CONTEXT.values())) if x in long and x not in filler
    ]
    assert long.startswith(filler) and long.endswith(filler)


SECRETS = [*SELF_EVIDENT.values(), *(frame.format(secret) for frame, secret in IN_CONTEXT.values())]
pieces = st.one_of(
    st.text(max_size=20),
    st.sampled_from(SECRETS),
    st.sampled_from(STAYS),
    st.sampled_from(
        [
            "[REDACTED:password#1]",
            "[REDACTED:",
            "\n",
            "\r\n",
            "password=",
            "token: '",
            '"',
            "\\",
            "\\n",
            " ",
            "://",
            "@",
        ]
    ),
    st.sampled_from(
        [BEGIN, END, BODY[0], BEGIN + "\n" + BODY[0], "\u0130", "\ud800", "cookie: a=", "-p ", "Bearer ", "AKIA"]
    ),
)


@settings(max_examples=300, deadline=None)
@example("\u0130" * 50 + " password='" + PASSWORD + "'")
@example(f"AKIA{'0' * 16} ACCESS_KEY_ID '{KEY_ID}' SECRET_ACCESS_KEY '{SECRET_KEY}'")
@example(f"[REDACTED:password#1]SECRET_ACCESS_KEY '{SECRET_KEY}'-----END RSA " + "PRIVATE KEY-----")
@given(st.lists(pieces, max_size=12).map("".join))
def test_redacting_twice_changes_nothing_and_keeps_the_lines(text):
    """Any text at all is redacted without an error, to as many lines, and a second time to the same text."""
    redactor = Redactor(emails=True)
    once = redactor.redact(text)
    assert once.count("\n") == text.count("\n")
    assert redactor.redact(once) == once
    assert redacted(once, emails=True) == once


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.sampled_from(sorted(SELF_EVIDENT.values())), st.text(max_size=80))
def test_no_planted_token_is_left(before, secret, after):
    """A token set off by spaces goes, whatever text is around it."""
    assert secret not in redacted(f"{before} {secret} {after}")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.sampled_from(sorted(IN_CONTEXT)), st.text(max_size=60))
def test_no_planted_password_is_left(before, context, after):
    """A secret in its context on a line of its own goes, whatever text is around it."""
    frame, secret = IN_CONTEXT[context]
    assert secret not in redacted(f"{before}\n{frame.format(secret)}\n{after}")


LONG = "\n" + "INFO - wrote rows to the table of the day before\n" * 2100


@settings(max_examples=200, deadline=None)
@example("api_\u212aey = 'Zx81_kQpw93'")
@example("s\u212a_live_" + "AbCd1234" * 3)
@given(st.lists(st.one_of(pieces, st.sampled_from(LITERALS), st.sampled_from("\u212a\u0130kKiI_=@")), max_size=12))
def test_a_long_text_hides_nothing_that_a_short_one_shows(parts):
    """Whatever surrounds a secret, both ways of searching find it; of two kinds that fit it may bear either."""
    text = "".join(parts)
    shown = re.sub(PLACEHOLDER, "X", redacted(text + LONG))
    assert shown.removesuffix(LONG) == re.sub(PLACEHOLDER, "X", redacted(text))


HOSTILE = [
    "secret=",
    "token='token=\"",
    "token:token:",
    "-eyJ",
    "://u:pppp",
    "cookie:a=",
    "curl -u a ",
    "SK-",
    'cred="',
    "<token>a</",
    "pw = ",
    "password for ",
    "echo ",
    ".connect('",
    "AKIA" + "Q" * 16 + "/",
    BEGIN,
    END,
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_of_a_megabyte_is_finished(unit):
    """Repetition that makes patterns run away elsewhere ends here, with the newlines kept."""
    text = unit * (1_000_000 // len(unit)) + "\n"
    assert Redactor(emails=True).redact(text).count("\n") == 1


@pytest.mark.parametrize("unit", ["cred=x1y2z3 ", "token='a1b2c3d4e5' ", "SK-"])
def test_a_repeating_text_is_redacted_as_its_parts(unit):
    """Where a text repeats itself for long it is not read at each literal, and yet redacted at each, to its end."""
    count = 200_000 // len(unit)
    text = Redactor().redact("x" * 20_000 + "\n" + unit * count + "password=" + PLAIN)
    assert text == "x" * 20_000 + "\n" + redacted(unit) * count + "password=[REDACTED:password#1]"


def test_placeholders_have_one_form():
    """Whoever reads the text can find every placeholder with one expression."""
    text = redacted("\n".join(SECRETS))
    assert re.sub(r"\[REDACTED:[a-z_]+#\d+\]", "", text).count("REDACTED") == 0
