"""Every bound of Holdfast in one table that checks itself at import.

Sizes are bytes, times are nanoseconds or seconds as their names say. A bound
that a caller can meet is answered with ``LimitExceeded(limit=<name here>)``.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
TIB: Final = 1 << 40
SECOND_NS: Final = 1_000_000_000

# -- what callers meet ---------------------------------------------------------
KEY_BYTES: Final = KIB
NAMESPACE_CHARS: Final = 128
VALUE_RECORD_BYTES: Final = MIB  # larger values are stored in parts of this size
OBJECT_BYTES: Final = 5 * TIB
CONSUMERS: Final = 160
CONSUMER_BYTES: Final = 16
CONTENT_TYPE_BYTES: Final = 255
BATCH_OPERATIONS: Final = 10_000
BATCH_BYTES: Final = 64 * MIB
PROOF_HEADER_BYTES: Final = 32 * KIB
KEYS_SKIPPED: Final = 1_000_000  # that a page may lie behind, where pages are numbered
PROVEN_LIST_BYTES: Final = 8 * MIB  # of the proof of a list; verifiers take no longer one
PROVEN_BYTES: Final = 64 * MIB  # of a value that a server answers with its proof
LIST_PAGE: Final = 1_000
TTL_NS: Final = (1 << 62) - 1
LOCK_TTL_S: Final = 30
LOCK_ID_BYTES: Final = 20
LOCK_WAIT_S: Final = 3_600  # that one request over the network may wait for a lock
TENANT_ENTRIES: Final = 1_000  # grants, published prefixes or web origins of one namespace
TOKEN_CHARS: Final = 8 * KIB
TOKEN_TTL_S: Final = 10 * 366 * 86_400

# -- what callers over the network meet ------------------------------------------
REQUEST_HEADER_BYTES: Final = 32 * KIB  # 16 KiB is what others promise to take
REQUEST_HEADERS: Final = 100
REQUEST_BYTES: Final = MIB  # of a body that is JSON
OBJECT_BODY_BYTES: Final = 2 * MIB  # of one that holds a value as base64
BATCH_BODY_BYTES: Final = BATCH_BYTES + 2 * MIB  # values and what stands around them
RPC_MESSAGE_BYTES: Final = 4 * MIB  # what gRPC's own clients take unless they are told otherwise
RPC_CALLS: Final = 1_000  # under way at once, streams that stay open included
REQUESTS_DUE: Final = 64  # of one connection, before nothing more is read of it

# -- buckets and segments ------------------------------------------------------
BUCKET_BYTES: Final = 4 * GIB
BUCKET_BYTES_LEAST: Final = 64 * KIB
SEGMENT_BYTES: Final = 64 * MIB
SEGMENT_BYTES_LEAST: Final = 32 * KIB
SEGMENTS_PER_BUCKET: Final = 16  # a segment is this part of its bucket, within the two above
MERGE_PART: Final = 4  # two neighbours together under 1/4 of the bound become one
EXTENTS: Final = 64  # locations one index entry may hold (appends)

# -- views ---------------------------------------------------------------------
VIEW_KEY_BYTES: Final = 480  # longer keys share a row under their first 480 bytes
VIEW_KEYS_SHARED: Final = 1_000  # keys that may share those first bytes
OVERLAY_RECORDS: Final = 500_000
OVERLAY_BYTES: Final = 128 * MIB
OVERLAYS_BYTES: Final = 2 * OVERLAY_BYTES  # of all buckets together
UNABSORBED_RECORDS: Final = 1_000_000
UNABSORBED_BYTES: Final = GIB
OPEN_BUCKETS: Final = 256

# -- writes that were queued --------------------------------------------------
SOON_BYTES: Final = 4 * BATCH_BYTES  # that wait: keys, names, values, and what holds them
SOON_ENTRY_BYTES: Final = 300  # of memory that one takes beside its name, its key and its value
DEAD_LETTERS: Final = 10_000  # that are kept, the newest; all of them are counted

# -- backups -------------------------------------------------------------------
MANIFEST_BYTES: Final = GIB  # some 250 bytes for each segment

# -- enclaves --------------------------------------------------------------------
ENCLAVE_IMAGES: Final = 100  # images that one namespace may be held by
ENCLAVE_SESSIONS: Final = 10_000
ENCLAVE_SESSIONS_PER_IMAGE: Final = 100  # one more ends the oldest of that image
ENCLAVE_SESSION_S: Final = 3_600
ENCLAVE_DOCUMENTS: Final = 1_000  # verified documents in memory
ENCLAVE_LIST: Final = 100_000  # names in one answer of the enclave API
CHALLENGE_S: Final = 60
CHALLENGES_SPENT: Final = 100_000  # nonces that were used and have not ended

# -- rights ---------------------------------------------------------------------
TOKENS_CACHED: Final = 4_096  # verified tokens in memory
COUNTED_GRANTS: Final = 10_000  # counted grants of which uses are held in memory

# -- times ---------------------------------------------------------------------
INTERVAL_SYNC_S: Final = 0.1
SYNC_MARK_S: Final = 0.7  # idle for so long, a bucket writes what it knows durable: within 1 s
TIME_MARK_NS: Final = 10_000_000_000
CLOCK_STEP_NS: Final = 5_000_000_000
CLOCK_DRAW_PERCENT: Final = 5
READ_GRACE_NS: Final = 3_600_000_000_000
SOON_DURABLE_S: Final = 0.1
BUSY_DELAY_S: Final = 30.0  # a loaded disk takes seconds for one checkpoint
SCRUB_DAYS: Final = 30

# -- search ------------------------------------------------------------------------
SEARCH_TERM_CHARS: Final = 64  # of a word; what follows does not tell words apart
SEARCH_TEXT_BYTES: Final = MIB  # of a value that are read as text
SEARCH_INDEX_BYTES: Final = 32 * KIB  # of a text that is given with a put
SEARCH_QUERY_CHARS: Final = 4 * KIB
SEARCH_QUERY_DEPTH: Final = 32
SEARCH_QUERY_PARTS: Final = 256
SEARCH_EXPANSIONS: Final = 10_000  # terms that begin as words of a query with a star do
SEARCH_FACETS: Final = 64  # names of tags by which one search counts
SEARCH_PAGE: Final = 1_000
SEARCH_BEHIND: Final = 100_000  # records that upkeep lets an index lack
TAGS: Final = 50  # of one object
TAG_BYTES: Final = 512  # of a tag's name and value together

# -- money -----------------------------------------------------------------------
ATTO: Final = 10**60 - 1  # of one entry, in 10^-18 USD: no sum of entries has too many digits
BOUND: Final = (1 << 63) - 1  # the largest that a namespace can be given

# -- sessions of numbered writes, in one bucket ---------------------------------
SESSION_NUMBERS: Final = 1_000  # applied numbers that one session has above its floor
SESSIONS: Final = 1_000  # of one namespace
SPACE_NUMBERS: Final = 64_000  # of one namespace, over all its sessions
SESSION_IDLE_NS: Final = 7 * 86_400 * 1_000_000_000
SESSION_SPARE_NS: Final = 600_000_000_000  # idle this long, it may end where room is wanted
SESSION_AHEAD_NS: Final = 3_600_000_000_000  # how far another node's clock may be ahead


def _check() -> None:
    """Hold the relations between the bounds; a wrong edit fails at import."""
    relations = {
        "a segment is smaller than a bucket": SEGMENT_BYTES < BUCKET_BYTES,
        "the least segment is smaller than the least bucket": SEGMENT_BYTES_LEAST
        < BUCKET_BYTES_LEAST,
        "a composite key fits its record field": NAMESPACE_CHARS + KEY_BYTES + 16 < 1 << 16,
        "two overlays fit what recovery may replay": 2 * OVERLAY_RECORDS <= UNABSORBED_RECORDS,
        "a view key fits LMDB": VIEW_KEY_BYTES + 9 + 1 <= 511,  # noqa: PLR2004 - LMDB's own
        "a batch fits a group": BATCH_BYTES < 1 << 32,
        "one image leaves room for others": ENCLAVE_SESSIONS_PER_IMAGE < ENCLAVE_SESSIONS,
        "a record fits a message": 2 * VALUE_RECORD_BYTES <= RPC_MESSAGE_BYTES,
        "all consumers fit a record": CONSUMERS * (CONSUMER_BYTES + 1) < VALUE_RECORD_BYTES,
    }
    for relation, holds in relations.items():
        if not holds:
            raise ValueError(relation)


_check()
