"""What all connections of the userspace target share: buffers, thread pool, clock, write budget."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Protocol

from isadmin.userspace import limits
from isadmin.userspace.budget import Budget
from isadmin.userspace.connection import Connection
from isadmin.userspace.iscsi.codes import LoginStatus
from isadmin.userspace.iscsi.login import Authority, LoginMachine
from isadmin.userspace.iscsi.text import TargetRecord
from isadmin.userspace.loop import EventLoop
from isadmin.userspace.sending import Sender

if TYPE_CHECKING:
    from isadmin.userspace.answers import Answers
    from isadmin.userspace.fullfeature import FullFeature
    from isadmin.userspace.portals import Listener, SocketName
    from isadmin.userspace.scsi.command import Command
    from isadmin.userspace.scsi.gate import Gate
    from isadmin.userspace.scsi.unit import LogicalUnit
    from isadmin.userspace.tasks import Task


class Host(Protocol):
    """What connections ask of the running target (target.Target)."""

    def authority(self, connection: Connection) -> Authority:
        """Who decides about the login of `connection`."""
        ...

    def attach(self, connection: Connection, machine: LoginMachine) -> FullFeature:
        """The login of `connection` is complete: the handler of its full-feature phase."""
        ...

    def login_failed(self, connection: Connection, machine: LoginMachine, status: LoginStatus) -> None: ...

    def detached(self, connection: Connection, full: FullFeature) -> None:
        """A connection in full-feature phase has ended."""
        ...

    def send_targets(self, connection: Connection, initiator: str, name: str) -> list[TargetRecord]:
        """Targets that the initiator may see; all of them when name is empty."""
        ...


class Server:
    """What all connections share: buffers, the thread pool, the clock, the budget for write data."""

    def __init__(self, host: Host, loop: EventLoop) -> None:
        self.host = host
        self.loop = loop
        self.buffer = bytearray(limits.RECEIVE_BUFFER)
        self.view = memoryview(self.buffer)
        self.arena = memoryview(bytearray(limits.ARENA))
        self.arena_used = 0
        self._arenas: list[memoryview] = []
        self._buffers: dict[int, list[bytearray]] = {}
        self._buffered = 0
        self.connections: set[Connection] = set()
        self.served: Sender | None = None
        """The connection that was served last."""
        self._pool: ThreadPoolExecutor | None = None
        self._finished: deque[Callable[[], None]] = deque()
        self._waking = False
        self.budget = Budget(limits.WRITE_BUDGET, loop.call_soon, self._relieved)
        self.short_windows: set[Answers] = set()
        """Connections that were promised fewer commands than usual."""
        self._ticker: asyncio.TimerHandle | None = None
        self.orphans: dict[Task, None] = {}
        """Commands of connections that are gone, which a pool thread is still at work on."""
        self.parked: dict[Command, Task] = {}
        """Tasks that wait at their unit's gate."""
        self.passing: deque[Task] = deque()
        """Those that are let through just now."""
        self._dirty: set[Connection] = set()
        self._idle_calls: list[tuple[Gate, Callable[[], None]]] = []

    def accept(self, sock: socket.socket, name: SocketName, listener: Listener) -> None:
        """Take over a new connection's socket; `name` is its peer's."""
        connection = Connection(self, sock, name, listener)
        self.connections.add(connection)
        connection.start()
        if self._ticker is None:
            self._ticker = self.loop.call_later(limits.TICK, self._tick)

    def _tick(self) -> None:
        self._ticker = None
        for connection in list(self.connections):
            connection.tick()
        if self.connections:
            self._ticker = self.loop.call_later(limits.TICK, self._tick)

    # Reads of a wake-up share one arena. A connection whose send is blocked keeps it until it has drained.

    def take_arena(self) -> memoryview:
        """Hand the arena over to a blocked connection; a fresh one takes its place."""
        taken = self.arena
        self.arena = self._arenas.pop() if self._arenas else memoryview(bytearray(limits.ARENA))
        self.arena_used = 0
        return taken

    # Large buffers are used again: a fresh one costs a page fault for every 4 KiB.

    def take_buffer(self, size: int) -> bytearray:
        """A buffer of exactly `size` bytes, with anything in it."""
        free = self._buffers.get(size)
        if free:
            self._buffered -= size
            buffer = free.pop()
            if not free:
                del self._buffers[size]
            return buffer
        return bytearray(size)

    def return_buffer(self, buffer: bytearray) -> None:
        """Nothing refers to the buffer any more."""
        size = len(buffer)
        if size >= limits.DIRECT and self._buffered + size <= limits.BUFFERS_KEPT:
            self._buffered += size
            self._buffers.setdefault(size, []).append(buffer)

    def return_arena(self, arena: memoryview) -> None:
        if len(self._arenas) < 4:
            self._arenas.append(arena)

    def _relieved(self) -> None:
        """There is room for write data again: who has nothing under way will hear of it in no answer."""
        short, self.short_windows = self.short_windows, set()
        for full in short:
            full.tell_window()

    def tasks_at(self, unit: LogicalUnit) -> Iterator[Task]:
        """All commands to a unit that wait or are worked on, whoever has sent them."""
        for connection in self.connections:
            if connection.full is not None:
                for task in connection.full.tasks.values():
                    if task.command.found is not None and task.command.unit is unit:
                        yield task
        for task in self.orphans:
            if task.command.unit is unit:
                yield task

    def adopt(self, tasks: Iterable[Task]) -> None:
        """Their connection is gone, and they are not over yet."""
        for task in tasks:
            self.orphans[task] = None
            task.on_end.append(partial(self.orphans.pop, task))

    # The thread pool: `work` runs in a thread, `finished` then on the loop's thread.

    def submit(self, work: Callable[[], None], finished: Callable[[], None]) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(limits.POOL_THREADS, thread_name_prefix="storage")

        def run() -> None:
            try:
                work()
            finally:
                self._finished.append(finished)
                if not self._waking:
                    self._waking = True
                    self.loop.call_soon_threadsafe(self._collect)

        self._pool.submit(run)

    def _collect(self) -> None:
        self._waking = False
        finished = self._finished
        while finished:
            finished.popleft()()
        if self._dirty:
            self._flush_dirty()
        if self._idle_calls:
            self._run_idle_calls()

    def flush_soon(self, connection: Connection) -> None:
        """Send what is queued on a connection after this turn of the loop."""
        if not self._dirty:
            self.loop.call_soon(self._flush_dirty)
        self._dirty.add(connection)

    def _flush_dirty(self) -> None:
        dirty, self._dirty = self._dirty, set()
        for connection in dirty:
            connection.flush()

    def when_idle(self, gate: Gate, call: Callable[[], None]) -> None:
        """Call once nothing of a unit runs any more: at once, or when the pool is through with it."""
        self._idle_calls.append((gate, call))
        self._run_idle_calls()

    def _run_idle_calls(self) -> None:
        for entry in list(self._idle_calls):
            gate, call = entry
            if not gate.running:
                self._idle_calls.remove(entry)
                call()

    def close(self) -> None:
        """Close every connection and end the pool; waits for what runs in it."""
        for connection in list(self.connections):
            connection.close("the target stops", quiet=True)
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
