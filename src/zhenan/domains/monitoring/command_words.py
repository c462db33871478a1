"""Commands, their arguments and what may go wrong, in words for people."""

from __future__ import annotations

from typing import Any, Final

from django.utils.translation import gettext_lazy as _

# protocol → code → (button, what it does or what to know before pressing it)
COMMANDS: Final[dict[str, dict[str, tuple[Any, Any]]]] = {
    "gb26875": {
        "sync_clock": (_("Set the clock"), _("Sets the device's clock to the platform's time.")),
        "patrol": (_("Check the guard"), _("Whoever is on duty must press the answer button in the minutes given.")),
        "initialise": (
            _("Initialise"),
            _("The transmission device starts anew and forgets what it has not yet sent."),
        ),
        "read_device_status": (_("Read the device's status"), ""),
        "read_device_operations": (_("Read the device's operations"), ""),
        "read_device_version": (_("Read the device's version"), ""),
        "read_device_config": (_("Read the device's configuration"), ""),
        "read_device_time": (_("Read the device's clock"), ""),
        "read_system_status": (_("Read the system's status"), ""),
        "read_operations": (_("Read the system's operations"), ""),
        "read_version": (_("Read the system's version"), ""),
        "read_system_config": (_("Read the system's configuration"), ""),
        "read_system_time": (_("Read the system's clock"), ""),
        "read_component_status": (_("Read the detector's status"), ""),
        "read_component_analogue": (_("Read the detector's value"), ""),
        "read_component_config": (_("Read the detector's configuration"), ""),
    },
    "jt808": {
        "text": (_("Send a text"), _("Shown to the driver and, if asked, read aloud.")),
        "locate": (_("Where is it now?"), ""),
        "query_parameters": (_("Read all settings"), ""),
        "speed_limit": (_("Set the speed limit"), _("The terminal warns the driver above it.")),
        "driving_limit": (_("Set the driving time limit"), ""),
        "intervals": (_("Set how often it reports"), ""),
        "server": (_("Send it to another server"), _("The terminal leaves this platform for the address given.")),
        "parameter": (_("Set any parameter"), _("Written as it stands: a wrong value can make the terminal useless.")),
    },
    "hj212": {
        "set_timeout": (
            _("Set time-out and resends"),
            _("How long it waits for an answer and how often it sends again; the platform does the same with it."),
        ),
        "get_time": (_("Read the logger's clock"), ""),
        "set_time": (_("Set the logger's clock"), ""),
        "get_interval": (_("Read how often it reports"), ""),
        "set_interval": (_("Set how often it reports"), ""),
        "start_realtime": (_("Ask for real-time data"), ""),
        "stop_realtime": (_("Stop real-time data"), ""),
        "read_minutes": (_("Fetch minute data"), ""),
        "read_hours": (_("Fetch hour data"), ""),
        "read_days": (_("Fetch day data"), ""),
        "calibrate": (_("Calibrate zero and span"), _("The instrument does not measure while it is calibrated.")),
        "sample_now": (_("Take a sample now"), ""),
        "clean": (_("Start cleaning"), _("The instrument does not measure while it is cleaned.")),
        "compare": (_("Take a comparison sample"), ""),
        "keep_sample": (_("Keep a sample"), ""),
        "set_sampling": (_("Set the sampling times"), ""),
        "get_sampling": (_("Read the sampling times"), ""),
        "sample_duration": (_("Read how long a sample takes"), ""),
        "read_identity": (_("Read the instrument's identity"), ""),
        "read_information": (_("Read the instrument's information"), ""),
        "set_information": (_("Set the instrument's information"), _("Written into the instrument as it stands.")),
    },
}
ARGUMENTS: Final[dict[str, Any]] = {
    "minutes": _("Minutes to answer"),
    "records": _("Records"),
    "start": _("From"),
    "begin": _("From"),
    "end": _("Until"),
    "sys_type": _("System type"),
    "sys_addr": _("System address"),
    "comp_addr": _("Component address"),
    "text": _("Text"),
    "urgent": _("Urgent"),
    "speak": _("Read aloud"),
    "kmh": _("km/h"),
    "seconds": _("Seconds"),
    "heartbeat_s": _("Seconds between heartbeats"),
    "report_s": _("Seconds between positions"),
    "address": _("Address"),
    "port": _("Port"),
    "id": _("Parameter number"),
    "value": _("Value"),
    "factor": _("Factor code"),
    "info": _("Information code"),
    "overtime_s": _("Seconds until it sends again"),
    "recount": _("How often it sends again"),
    "start_hour": _("First hour of the day"),
    "every_h": _("Hours between samples"),
}
ERRORS: Final[dict[str, Any]] = {
    "no_answer": _("no answer after several tries"),
    "no_outcome": _("it said it would, but not how it went"),
    "guard_silent": _("nobody on duty pressed the button"),
    "expired": _("the device did not come in time"),
    "connection": _("the connection broke"),
    "refused": _("the device refuses"),
    "unreadable_answer": _("its answer cannot be read"),
    "failed": _("it failed"),
    "wrong_message": _("the device does not understand it"),
    "unsupported": _("the device cannot do it"),
    "password": _("the password is wrong"),
    "identity": _("the identity is wrong"),
    "command": _("the device does not know the command"),
    "condition": _("the conditions are not met"),
    "device_timeout": _("the instrument did not answer its logger"),
    "busy": _("the device is busy"),
    "fault": _("the instrument is faulty"),
    "no_data": _("there are no data"),
}


def error_word(code: str) -> Any:
    """What went wrong in words; what the device says in its own words stays as it is."""
    return ERRORS.get(code, code)
