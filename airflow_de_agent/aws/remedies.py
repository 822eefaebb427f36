"""What an error of AWS means and what would mend it: a table of codes that reads like a runbook."""

from __future__ import annotations

from typing import NamedTuple


class Remedy(NamedTuple):
    """What errors of one kind mean. `tries` is how often such a call is made at most, while there is time."""

    codes: frozenset[str]
    tries: int
    reason: str
    cure: str


def _remedy(codes: str, tries: int, reason: str, cure: str) -> Remedy:
    return Remedy(frozenset(codes.split()), tries, reason, cure)


# Codes of the services and names of botocore's exceptions; the first row that holds the code counts.
_REMEDIES = (
    _remedy(
        "AccessDenied AccessDeniedException UnauthorizedOperation UnauthorizedException",
        1,
        "access denied: {principal}may not {action} on {resource}.",
        "allow {action} on {resource} in the caller's IAM policy.",
    ),
    _remedy(
        "ExpiredToken ExpiredTokenException RequestExpired TokenRefreshRequired",
        1,
        "the AWS credentials have expired ({code}).",
        "renew the session behind the AWS connection, or use the role of the environment instead of copied keys.",
    ),
    _remedy(
        "UnrecognizedClientException InvalidClientTokenId InvalidSignatureException SignatureDoesNotMatch "
        "IncompleteSignature MissingAuthenticationToken InvalidAccessKeyId",
        1,
        "AWS does not accept the credentials ({code}).",
        "correct the keys of the AWS connection; check the clock of the host.",
    ),
    _remedy(
        "Throttling ThrottlingException ThrottledException TooManyRequestsException RequestLimitExceeded SlowDown "
        "LimitExceededException ProvisionedThroughputExceededException RequestThrottled PriorRequestNotComplete "
        "ActiveStatementsExceededException ActiveSessionsExceededException TransactionInProgressException",
        12,
        "{service} throttled {action} until the time was up.",
        "ask again later, or raise the quota of {action} in {region}.",
    ),
    _remedy(
        "InternalServerException InternalServerError InternalFailure ServiceUnavailable ServiceUnavailableException "
        "HTTP500 HTTP502 HTTP503 HTTP504 500 502 503 504",
        4,
        "{service} failed inside AWS: {message}",
        "ask again later; see the AWS Health Dashboard of {region}.",
    ),
    _remedy(
        "NoCredentialsError PartialCredentialsError CredentialRetrievalError TokenRetrievalError SSOTokenLoadError "
        "UnauthorizedSSOTokenError ProfileNotFound",
        1,
        "no AWS credentials were found ({code}).",
        "give the AWS connection keys or a role, or run under a role.",
    ),
    _remedy(
        "NoRegionError InvalidRegionError",
        1,
        "no usable AWS region is set.",
        "set region_name in the AWS connection, or AWS_DEFAULT_REGION.",
    ),
    _remedy(
        "EndpointConnectionError ConnectTimeoutError ProxyConnectionError SSLError EndpointProviderError",
        2,
        "{endpoint} cannot be reached ({code}).",
        "check the region ({region}); from a private subnet {service} needs a VPC endpoint or a NAT gateway.",
    ),
    _remedy(
        "ReadTimeoutError ConnectionClosedError HTTPClientError ResponseStreamingError IncompleteReadError "
        "ResponseParserError HalfAnswer",
        3,
        "{service} broke off its answer to {action} ({code}).",
        "ask again; if it stays, check the proxy or VPC endpoint on the way to {endpoint}.",
    ),
    _remedy(
        "Hanging",
        1,
        "{service} did not answer {action} in time.",
        "check the way to {endpoint} (VPC endpoint, security group, proxy).",
    ),
    _remedy("NoTime", 1, "no time was left for {action}.", "raise [de_agent] deadline_seconds."),
    _remedy(
        "UnknownMethod ParamValidationError UnknownServiceError",
        1,
        "this boto3 cannot {action} ({message}).",
        "use a newer boto3 (a newer Airflow version, on Amazon MWAA).",
    ),
)
_OTHER = Remedy(frozenset(), 1, "{service} refused {action}: {code}: {message}", "")


def remedy_of(code: str) -> Remedy:
    """The row that holds a code of a service, or the name of an exception of botocore."""
    return next((remedy for remedy in _REMEDIES if code in remedy.codes), _OTHER)
