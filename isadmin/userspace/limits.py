"""Sizes and times that keep the userspace target's memory and patience bounded."""

RECEIVE_BUFFER = 1 << 20
RECEIVE = 512 << 10
"""Bytes of one receive; the rest of the buffer is for what was held back before it."""
RECEIVE_UNDER_PRESSURE = 64 << 10
"""The same while there is no room for write data: what comes is kept."""
MAX_RECV = 256 << 10
"""The longest data segment we take, whatever param/MaxRecvDataSegmentLength says: a whole PDU must fit into
the receive buffer beside another one's beginning."""
ARENA = 4 << 20
"""Bytes of the buffer that reads of one wake-up go through."""
DIRECT = 16 << 10
"""From this many missing bytes on, the rest of a PDU is received straight into its place."""
RECEIVE_AHEAD = 4 << 10
"""Bytes received beyond such a rest, or next after it: of another long PDU no more than its beginning, so
that it gets to its place directly as well."""
BUFFERS_KEPT = 16 << 20
"""Bytes of buffers kept for use again."""
BY_REFERENCE = 64 << 10
"""From this many bytes on, a READ of what is in memory is sent from there; for fewer, a copy costs less."""
FLUSH_AT = 256 << 10
"""Bytes of answers after which a wake-up sends before it goes on."""
TURN = 320 << 10
"""Bytes of answers after which a connection lets others who wait have their turn: a little more than one
segment of the usual 256 KiB, which then goes out whole."""
SHORT_TURN = 72 << 10
"""The same while others want to be served too: their small reads would wait for all of it."""
SHORT_TURNS = 256
"""Turns that are short after another connection has been served."""
MAX_IOV = 1024
"""Buffers of one sendmsg: IOV_MAX of Linux."""
WRITE_BUDGET = 128 << 20
"""Bytes of write data that all commands together may hold (see budget.py)."""
EARLY = 1 << 20
"""Bytes of data that may come before their turn in a session of one connection, where nothing else can fill
the gap before them."""
READ_AHEAD = 4 << 20
"""Bytes that commands may be reading for one connection, together with what is queued for it while it takes
no more; further ones are held back, at least one is not."""
TASK_SET = 4096
"""Commands that run or wait at one unit; further ones are refused with TASK SET FULL or BUSY."""
TICK = 1.0
"""Seconds between looks at idle and stalled connections."""
LOGIN_TICKS = 15
"""Ticks in which a login must be complete, unless the TPG's login_timeout says otherwise."""
POOL_THREADS = 16
