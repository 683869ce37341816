"""The names of OpenTelemetry's semantic conventions, version 1.41, and our own.

The conventions for generative AI have since moved to a repository of their own that has no release yet.
"""

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"

ERROR_TYPE = "error.type"
METHOD = "http.request.method"
RESEND_COUNT = "http.request.resend_count"
ROUTE = "http.route"
STATUS = "http.response.status_code"
PATH = "url.path"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

CONVERSATION = "gen_ai.conversation.id"
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_STREAM = "gen_ai.request.stream"
FINISH_REASONS = "gen_ai.response.finish_reasons"
RESPONSE_ID = "gen_ai.response.id"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE = "gen_ai.usage.cache_creation.input_tokens"
REASONING = "gen_ai.usage.reasoning.output_tokens"

EXCHANGE = "antigravity.exchange.id"
OUTCOME = "antigravity.outcome"
ACCOUNT = "antigravity.account"
VERDICT = "antigravity.verdict"
REPAIR = "antigravity.repair"

COUNT_TOKENS = "count_tokens"
"""Counting, of which the conventions know nothing."""
VERTEX = "gcp.vertex_ai"
VERTEX_HOSTS = "aiplatform.googleapis.com"
"""How the hosts end that speak a dialect for Vertex AI."""
