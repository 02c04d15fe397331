"""The places of everything in the engine's arrays, and its codes, which are compiled in."""

from __future__ import annotations

# Constants of a run, floats.
(
    F_L1_TTL, F_CACHE_TTL, F_L2_CPU, F_L3_CPU, F_L2_TIMEOUT, F_L3_TIMEOUT, F_JITTER, F_SWR,
    F_BOUND, F_EARLY, F_BETA, F_OPEN_FOR, F_WAIT, F_REFRESH, F_WARM, F_SHARE,
    F_NEGATIVE_TTL, F_SNAP, F_LOOK1, F_LOOK2, F_SHARE_WRITE,
    F_LEAST_WAIT, F_LEAST_GROWTH, F_LOOK_EVERY, F_END, F_SIE, F_RETRY_PAUSE, F_RETRY_DELAY,
    F_SOFT, F_ROWS_TTL, F_AHEAD, F_SENT_TIMEOUT, F_FWD_DELAY, F_COUNT,
) = range(34)  # fmt: skip

# Constants of a run, integers.
(
    I_N, I_WIDTH, I_READS, I_SITES, I_KEYS, I_PER, I_PROCESSES, I_CONSUMER, I_ALL,
    I_PER_POP, I_CAP, I_CAP_BYTES, I_SINGLE, I_AWAIT, I_KEEPS, I_SIE, I_BREAKER, I_EVENTUAL,
    I_CLAMP, I_BATCH, I_PARALLEL, I_FORWARDS, I_FWD_BATCH, I_FWD_PARALLEL, I_FIT_EVERY, I_SEEDED,
    I_LOOKBACK, I_OWN, I_EPOCH, I_HEADER, I_DATA_DRIVEN, I_MODELS, I_CHANNELS,
    I_PARTS, I_FAULTS, I_JOURNEY_HEAD, I_EVENT_TEXT,
    I_CONVERSION_TEXT, I_REQUEST_SCOPE, I_TOUCH_BYTES, I_BODY, I_IN_FLIGHT, I_BUCKET, I_LEAST_JOBS,
    I_ATTEMPTS, I_ROWS_CAP, I_ROWS_BYTES, I_ROWS_OF_EVENT, I_IS_ORDERED,
    I_LEASE, I_FWD_ATTEMPTS, I_COUNT,
) = range(52)  # fmt: skip

# The state that an interrupted run goes on from.
(
    S_NEXT, S_HEAP, S_SEQ, S_LEFT, S_COLLECTED, S_COLLECTING, S_TIMER_ON, S_TIMER, S_FORMED,
    S_FIRST_WAITING, S_RUNNING, S_MAIN, S_MAIN_AT, S_MAIN_PROCESS, S_FWD_RUNNING, S_FWD_RESERVED,
    S_FWD_ASKED, S_FWD_REQUESTS, S_OUT_COUNT, S_WAKE, S_DRAINS, S_DRAINS_AT,
    S_FREE_R, S_FREE_F, S_FREE_P, S_FREE_N, S_FREE_A,
    S_NEED_KEY, S_NEED_KIND, S_NEED_AT, S_SNAPPED, S_BATCHES_SINCE, S_JOURNEYS, S_TOUCHES,
    S_STORED, S_LOOKS, S_WHY, S_USED_R, S_USED_P, S_USED_F, S_USED_N, S_USED_A,
    S_BODIES, S_TAIL, S_PUT_OFF, S_LAST_WAITING,
    S_FREE_D, S_USED_D, S_STOP, S_COUNT,
) = range(50)  # fmt: skip

# Counters.
(
    C_EVICTED, C_EXPIRED, C_EXTENDED, C_SKIPPED, C_WRITE_ERRORS, C_LOADS, C_REFRESHES, C_STALE,
    C_OPENINGS, C_L2_ERRORS, C_L2_OPERATIONS, C_BATCHES, C_PROCESSED, C_UNTOUCHED,
    C_FORWARDED, C_L3_ERRORS, C_RETRIES, C_GIVEN_UP, C_ROWS_HITS, C_FWD_RETRIES,
    C_FWD_GIVEN_UP, C_DELETES, C_OUTLIVED, C_COUNT,
) = range(24)  # fmt: skip

# Stages whose samples requests add.
STAGE_L1, STAGE_L2, STAGE_L3, STAGE_WAIT, STAGE_TOTAL, STAGE_CPU, STAGES = range(7)
# Kinds of the profiler.
KIND_QUERY, KIND_QUEUE, KIND_EXTERNAL, KINDS = range(4)
BUCKETS = 14_848
"""A histogram of the largest 63-bit number of nanoseconds has fewer."""

TOUCHES_PER_ROW = 1_000
"""Touches whose credits stand in one row."""
ROW_SHARE = 0.1
"""What a row costs beside a statement."""

# Timed events; their code is kind | number << 5.
(
    E_START, E_L2, E_DB_IN, E_DB_OUT, E_PUT, E_TIMER, E_BATCH_IN, E_BATCH_OUT, E_ASK_IN, E_ASK_OUT,
    E_SENT, E_SNAP, E_LOOK, E_NEW_IN, E_NEW_OUT, E_CHECK, E_RETRY,
    E_LIMIT, E_APART, E_COUNT, E_WAKE,
) = range(21)  # fmt: skip

# What is ready; the same code.
(
    R_REQUEST, R_PUT, R_NEW, R_BATCH, R_BATCH_ON, R_BATCH_ENDED, R_ASK, R_FORWARD, R_FORWARD_ENDED,
    R_MAIN, R_DROP, R_NEW_ON, R_APART,
) = range(13)  # fmt: skip

# Where a request stands.
(
    T_READ, T_FOLLOWS, T_L2, T_BYPASS, T_LOAD, T_LOADING, T_LOADED, T_AFTER, T_WAITS, T_FAILED,
    T_APART,
) = range(11)  # fmt: skip

# How a read was answered; `core.wire` has the same.
L1, L2, MISS, COLLAPSED, BYPASS, STALE = 1, 2, 3, 4, 5, 32

# Columns of a statement under way, which are the first of all that send one: its round trip and
# execution, when it began, when it is given up, whether a fault lets it fail, and how it failed.
O_TRIP, O_EXECUTION, O_QUERY, O_OUT, O_FAULTY, O_FAILED, O_COUNT = range(7)
# How an operation failed, and with it what waited for it.
SUCCEEDED, FAILED, TIMED_OUT = range(3)

# Columns of a request in flight: floats, then integers.
RF_CPU, RF_BEGAN, RF_LOADING, RF_INTENDED, RF_FRESH, RF_LOAD, RF_COUNT = range(O_COUNT, O_COUNT + 7)
(
    RI_REQUEST, RI_AT, RI_STATE, RI_NEXT, RI_FLIGHT, RI_BYPASS, RI_LEFT, RI_SIZE, RI_ENDPOINT,
    RI_SUBJECT, RI_ISOLATE, RI_FAILED, RI_STEP, RI_KEY, RI_SLOT, RI_CONVERTS, RI_CHANNEL,
    RI_FAILURE, RI_FOUND, RI_ROWS, RI_PROCESS, RI_COUNT,
) = range(22)  # fmt: skip

# Columns of a user: the newest event and its time, and the sizes of the newest ones.
U_LAST, U_TIME, U_KNOWN, U_BYTES, U_COUNT_NEWEST, U_AT, U_COUNT = range(7)

# Columns of a put to L2.
PF_LIFE, PF_FRESH, PF_LOAD, PF_SENT, PF_COUNT = range(5)
(
    PI_KEY, PI_REQUEST, PI_SLOT, PI_OF, PI_PROCESS, PI_SIZE, PI_AWAITED, PI_FAILED, PI_NEXT,
    PI_COUNT,
) = range(10)  # fmt: skip

# Columns of a read of L2 that its request may give up.
PA_OF, PA_KEY, PA_PROCESS, PA_IS_AWAITED, PA_LEFT, PA_FAILED, PA_NEXT, PA_COUNT = range(8)

# Columns of a load in the background.
NF_LOADING, NF_COUNT = range(O_COUNT, O_COUNT + 2)
(
    NI_KEY, NI_REQUEST, NI_SLOT, NI_ISOLATE, NI_FLIGHT, NI_LEFT, NI_SIZE, NI_TYPE, NI_NEXT,
    NI_ROWS, NI_COUNT,
) = range(11)  # fmt: skip

# Columns of a look for a newer model.
AI_ROW, AI_IS_BATCH, AI_PROCESS, AI_NEXT, AI_COUNT = range(5)

# Columns of a batch that runs.
(
    BI_NUMBER, BI_WRITES, BI_HELD, BI_UNTOUCHED, BI_TOUCHES, BI_SIZE, BI_CHANNELS, BI_ROW, BI_SINCE,
    BI_LEASE, BI_COUNT,
) = range(11)  # fmt: skip
# Columns of a batch: its first conversion and the one behind its last, the batch that was stored
# as the row's number, its failed attempts, and whether its results are stored.
B_FIRST, B_END, B_STORED, B_ATTEMPTS, B_IS_STORED, B_COUNT = range(6)  # fmt: skip

# Columns of a delivery that runs.
DF_STARTED, DF_COUNT = range(2)
DI_BUSY, DI_ROWS, DI_HANDED, DI_AT, DI_SENT, DI_FAILED, DI_LEASE, DI_COUNT = range(8)
# Columns of a row of the outbox: times are milliseconds of the clock.
OB_PLACE, OB_DUE, OB_KEY, OB_SINCE, OB_ATTEMPTS, OB_COUNT = range(6)
NEVER = 1 << 62

# Columns of an endpoint, of its reads, and of a cache type.
(
    EI_READS, EI_LOOKS, EI_QUERIES, EI_STORES, EI_WRITES, EI_CPU_STATED, EI_COUNT,
) = range(7)  # fmt: skip
QI_TYPE, QI_BASE, QI_KEYED, QI_SLOT, QI_COUNT = range(5)
KEYED_SUBJECT, KEYED_SITE, KEYED_NONE = range(3)
YI_QUERIES, YI_PROFILE, YI_SIZED, YI_HAS_ROWS, YI_COUNT = range(5)
SIZED_FIXED, SIZED_JOURNEY, SIZED_CHANNELS = range(3)

# Columns of a fault.
X_TIER, X_FROM, X_UNTIL, X_KIND, X_VALUE, X_COUNT = range(6)
FAULT_SLOW, FAULT_ERROR, FAULT_DEAD = range(3)

# Purposes of random numbers; `core.context.Purpose` has the same (a test holds them together).
P_L2_READ, P_L2_WRITE, P_TRIP, P_EXECUTION, P_READ_FATE, P_WRITE_FATE, P_L3_FATE = range(16, 23)
P_BATCH_TRIP, P_BATCH_EXECUTION, P_BATCH_FATE, P_DELIVERY, P_DELIVERY_FATE = range(24, 29)
P_JITTER, P_EARLY, P_EVENTS = 112, 113, 5
BATCH_WIDTH, MODEL_SLOT, STORE_SLOT = 5, 4, 2

# Profiles of the statements; those of types come behind.
Q_EVENT, Q_WAITING, Q_STORED, Q_NEWER, Q_BATCHES, Q_SENT, Q_STATED, Q_STATED_WRITE, Q_FIRST = range(
    9
)

# Why the engine returns.
(
    OUT_DONE, OUT_PROGRESS, OUT_GROW_HEAP, OUT_GROW_REQUESTS, OUT_GROW_PUTS, OUT_GROW_LOADS,
    OUT_GROW_ASKS, OUT_GROW_BATCHES, OUT_GROW_TOUCHES, OUT_SIZE, OUT_CHANNELS, OUT_REFUSED,
    OUT_STUCK, OUT_GROW_OUTBOX, OUT_GROW_FLIGHTS, OUT_BODIES, OUT_GROW_APARTS,
) = range(17)  # fmt: skip
WHY_TOUCHES, WHY_FIT, WHY_SATURATED = range(3)
