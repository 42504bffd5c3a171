"""Task management functions (RFC 7143 section 11.5, SAM-5 7): which tasks end, and what the units hear of
it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from isadmin.userspace.iscsi.codes import TaskFunction, TaskResponse
from isadmin.userspace.iscsi.pdu import TaskManagementRequest, TaskManagementResponse
from isadmin.userspace.scsi.nexus import LunPath, lun_number
from isadmin.userspace.tasks import Task, abort_all

if TYPE_CHECKING:
    from isadmin.userspace.fullfeature import FullFeature
    from isadmin.userspace.scsi.unit import LogicalUnit


class TaskManagement:
    """One request. `run` ends the tasks; the response goes out once the last of them is really over."""

    __slots__ = ("_close_all", "_full", "_left", "_request", "_response")

    def __init__(self, full: FullFeature, request: TaskManagementRequest) -> None:
        self._full = full
        self._request = request
        self._response = TaskResponse.COMPLETE
        self._left = 1
        self._close_all = False

    def run(self) -> None:
        function = self._request.function
        handler = _FUNCTIONS.get(function)
        if handler is None:
            self._response = TaskResponse.NOT_SUPPORTED
        else:
            self._response = handler(self)
        self._one_over()

    def _one_over(self) -> None:
        self._left -= 1
        if self._left:
            return
        full = self._full
        if full.connection.closed:
            return
        full.send_management_response(
            TaskManagementResponse(self._request.itt, self._response, *full.numbers_for_response())
        )
        if self._close_all:
            full.connection.flush()
            for connection in list(full.server.connections):
                other = connection.full
                if other is not None and other.session.target == full.session.target:
                    connection.close("target cold reset")

    def _end(self, tasks: Iterable[Task]) -> None:
        """Abort tasks, and wait for those that go on for a while."""
        for task in abort_all(tasks, self._told):
            self._left += 1
            task.on_end.append(self._one_over)

    def _told(self, task: Task) -> bool:
        """Whether a task's initiator hears that it has ended (TASK ABORTED): one that did not ask for it does
        when the unit's emulate_tas says so (SPC-4 7.5.10, TAS)."""
        if self._own(task):
            return False
        return task.command.found is not None and task.command.unit.value("emulate_tas") > 0

    def _discard(self, units: Collection[LogicalUnit]) -> None:
        """What the initiator sent before its request, and what has yet to have its turn, ends as well."""
        self._full.discard_before(self._request.cmd_sn, units)

    def _own(self, task: Task) -> bool:
        return task.full.session is self._full.session

    def _path(self) -> LunPath | None:
        number = lun_number(self._request.lun.to_bytes(8, "big"))
        return self._full.active.nexus.paths.get(number)

    def _abort_task(self) -> TaskResponse:
        for task in self._full.active.tasks():
            if task.itt == self._request.referenced_tag:
                if task.command.found is not None:
                    task.command.unit.counters.aborts_complete += 1
                self._end([task])
                return TaskResponse.COMPLETE
        if self._full.discard(self._request):
            return TaskResponse.COMPLETE
        path = self._path()
        if path is not None:
            path.unit.counters.aborts_no_task += 1
        return TaskResponse.TASK_DOES_NOT_EXIST

    def _abort_task_set(self) -> TaskResponse:
        path = self._path()
        if path is None:
            return TaskResponse.LUN_DOES_NOT_EXIST
        self._discard([path.unit])
        self._end([task for task in self._full.active.tasks() if task.command.found is path])
        return TaskResponse.COMPLETE

    def _clear_task_set(self) -> TaskResponse:
        path = self._path()
        if path is None:
            return TaskResponse.LUN_DOES_NOT_EXIST
        self._discard([path.unit])
        tasks = list(self._full.server.tasks_at(path.unit))
        ended = {task.command.path for task in tasks if not task.aborted and not self._own(task)}
        self._end(tasks)
        if not path.unit.value("emulate_tas"):
            # Nobody answers the others' commands (SAM-5 5.6): they hear of it with their next one.
            path.unit.commands_cleared(ended)
        return TaskResponse.COMPLETE

    def _logical_unit_reset(self) -> TaskResponse:
        path = self._path()
        if path is None:
            return TaskResponse.LUN_DOES_NOT_EXIST
        self._discard([path.unit])
        self._end(self._full.server.tasks_at(path.unit))
        path.unit.reset()
        return TaskResponse.COMPLETE

    def _target_reset(self) -> TaskResponse:
        units = [path.unit for path in self._full.active.nexus.paths.values()]
        self._discard(units)
        self._end(task for unit in units for task in self._full.server.tasks_at(unit))
        for unit in units:
            unit.reset()
        return TaskResponse.COMPLETE

    def _target_cold_reset(self) -> TaskResponse:
        self._close_all = True
        return self._target_reset()

    def _task_reassign(self) -> TaskResponse:
        return TaskResponse.REASSIGNMENT_NOT_SUPPORTED


_FUNCTIONS: dict[int, Callable[[TaskManagement], TaskResponse]] = {
    TaskFunction.ABORT_TASK: TaskManagement._abort_task,
    TaskFunction.ABORT_TASK_SET: TaskManagement._abort_task_set,
    TaskFunction.CLEAR_TASK_SET: TaskManagement._clear_task_set,
    TaskFunction.LOGICAL_UNIT_RESET: TaskManagement._logical_unit_reset,
    TaskFunction.TARGET_WARM_RESET: TaskManagement._target_reset,
    TaskFunction.TARGET_COLD_RESET: TaskManagement._target_cold_reset,
    TaskFunction.TASK_REASSIGN: TaskManagement._task_reassign,
}
