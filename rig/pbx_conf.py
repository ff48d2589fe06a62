"""Asterisk's configuration files as text, from the ports and folders of one run (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge.ami.translate import WANTED

#: Loaded by name with autoload=no: SIP calls on loopback, recording, FastAGI, AMI, queues, conferences, transfers.
MODULES = (
    "res_timing_timerfd res_sorcery_config res_sorcery_memory res_sorcery_astdb res_pjproject res_pjsip "
    "res_pjsip_session res_pjsip_pubsub res_pjsip_authenticator_digest res_pjsip_sdp_rtp res_pjsip_caller_id "
    "res_pjsip_dtmf_info res_pjsip_nat "
    "res_pjsip_rfc3326 res_pjsip_refer res_pjsip_empty_info res_pjsip_header_funcs res_pjsip_diversion "
    "res_pjsip_endpoint_identifier_ip res_pjsip_endpoint_identifier_user res_pjsip_endpoint_identifier_anonymous "
    "chan_pjsip res_rtp_asterisk codec_ulaw "
    "codec_alaw codec_a_mu codec_resample format_pcm format_sln format_wav bridge_simple bridge_native_rtp "
    "bridge_softmix bridge_holding bridge_builtin_features bridge_builtin_interval_features app_dial app_playback "
    "app_stack app_verbose app_exec app_playtones app_echo app_queue app_confbridge app_senddtmf app_read "
    "app_userevent app_cdr app_celgenuserevent app_while app_chanspy app_mixmonitor app_transfer app_directed_pickup "
    "app_originate app_channelredirect func_periodic_hook func_cut func_groupcount func_uri func_callerid "
    "func_channel func_strings func_logic func_math func_timeout func_global func_cdr func_db func_dialplan "
    "func_devstate func_hangupcause func_shell func_env func_sprintf func_pjsip_endpoint func_pjsip_contact "
    "func_pjsip_aor res_speech res_agi res_musiconhold res_parking res_mutestream res_manager_devicestate "
    "res_cdrel_custom cdr_custom cel_custom pbx_config "
)

#: Order of the columns in cdr.csv and cel.csv; rig/checker.py reads them by these names.
CDR_COLUMNS = (
    "src", "dst", "channel", "start(double)", "answer(double)", "end(double)", "duration", "billsec", "disposition",
    "userfield", "uniqueid", "linkedid",
)  # fmt: skip
CEL_COLUMNS = (
    "eventtype", "eventtime(float)", "num", "exten", "channame", "appname", "appdata", "uniqueid", "linkedid",
    "eventextra", "userfield",
)  # fmt: skip

AMI_USER = "callwarden"
#: What the product asks an admin to grant, and no more (dialplan/manager.callwarden.conf.sample).
AMI_READ, AMI_WRITE = "call,reporting", "call,reporting,user"
AMI_EVENTS = tuple(sorted(WANTED))

#: Who the PBX knows by name besides `agent`: phones on fixed loopback ports, which need not be there. SIPp answers at
#: `trunk`, phones of a test at the others.
PEERS = ("agent1", "agent2", "trunk", "trunk2")
#: Where `park` puts calls.
PARKED = range(701, 721)


@dataclass(frozen=True)
class PbxSettings:
    """One Asterisk: folders, loopback ports, the shared AMI secret, and what to include from the project."""

    run: Path
    modules: Path
    data: Path
    sip_port: int
    agent_port: int
    ami_port: int
    rtp_first: int
    rtp_last: int
    ami_secret: str
    extensions: str
    peers: dict[str, int] = field(default_factory=dict)  # of PEERS: name to loopback UDP port
    features: str = ""
    major: int = 22  # Asterisk's version; 16 is the other one known here
    globals: dict[str, str] = field(default_factory=dict)


def files(pbx: PbxSettings) -> dict[str, str]:
    """File name to content, for the folder `run/etc`."""
    run = pbx.run
    folders = {
        "astetcdir": run / "etc", "astmoddir": pbx.modules, "astvarlibdir": run / "lib", "astdbdir": run / "lib",
        "astkeydir": run / "lib", "astdatadir": pbx.data, "astagidir": run / "agi-bin", "astspooldir": run / "spool",
        "astrundir": run / "run", "astlogdir": run / "log", "astcachedir": run / "lib",
    }  # fmt: skip
    return {
        "asterisk.conf": "[directories]\n"
        + "".join(f"{name} => {path}\n" for name, path in folders.items())
        + "[options]\nnocolor = yes\nverbose = 3\ndefaultlanguage = en\nlive_dangerously = no\nhideconnect = yes\n",
        "modules.conf": "[modules]\nautoload = no\n"
        + "".join(f"load = {name}.so\n" for name in _modules(pbx) if (pbx.modules / f"{name}.so").is_file()),
        "logger.conf": "[general]\ndateformat = %F %T.%3q\n[logfiles]\nfull => notice,warning,error,verbose(3)\n",
        "pjproject.conf": "[startup]\nlog_mappings = default\n[default]\ntype = log_mappings\n",
        "pjsip.conf": _pjsip(pbx),
        "rtp.conf": f"[general]\nrtpstart = {pbx.rtp_first}\nrtpend = {pbx.rtp_last}\nicesupport = no\n",
        "manager.conf": _manager(pbx),
        "cdr.conf": "[general]\nenable = yes\nunanswered = yes\n",
        "cdr_custom.conf": _records(pbx, "cdr.csv", CDR_COLUMNS),
        "cel.conf": "[general]\nenable = yes\napps = dial\n"
        "events = CHAN_START,CHAN_END,ANSWER,HANGUP,BRIDGE_ENTER,BRIDGE_EXIT,APP_START,"
        "BLINDTRANSFER,ATTENDEDTRANSFER\n",
        "cel_custom.conf": _records(pbx, "cel.csv", CEL_COLUMNS),
        "extensions.conf": "[general]\nstatic = yes\nwriteprotect = yes\n[globals]\n"
        + "".join(f"{name} = {value}\n" for name, value in pbx.globals.items())
        + pbx.extensions,
        "features.conf": "[general]\npickupexten = *8\ntransferdigittimeout = 3\n"
        "[featuremap]\nblindxfer => ##\natxfer => *2\nparkcall => #72\n" + pbx.features,
        "res_parking.conf": f"[general]\n[default]\nparkext => 700\nparkpos => {PARKED[0]}-{PARKED[-1]}\n"
        "context => parkedcalls\nparkingtime => 60\nfindslot => first\nparkedcalltransfers = both\n"
        "comebacktoorigin = yes\n",
        "musiconhold.conf": f"[default]\nmode = files\ndirectory = {run / 'moh'}\n",
        "queues.conf": _queues(),
        "confbridge.conf": "[general]\n[default_bridge]\ntype = bridge\n[default_user]\ntype = user\n",
        "http.conf": "[general]\nenabled = no\n",
        "indications.conf": "[general]\ncountry = us\n[us]\ndescription = us\nringcadence = 2000,4000\n"
        "dial = 350+440\nbusy = 480+620/500,0/500\nring = 440+480/2000,0/4000\ncongestion = 480+620/250,0/250\n",
    } | dict.fromkeys(("acl.conf", "ccss.conf", "codecs.conf", "udptl.conf", "cli.conf"), "")


def _queues() -> str:
    """`support`: two agents in turn, both at the desk of `agent`; `desks`: the phones agent1 and agent2 at once."""
    common = "timeout = 15\nretry = 1\nwrapuptime = 0\nringinuse = yes\njoinempty = yes\n"
    return (
        f"[general]\n[support]\nstrategy = rrmemory\n{common}member => PJSIP/agent,0,Ann\nmember => PJSIP/agent-b,0,Bob\n"
        f"[desks]\nstrategy = ringall\n{common}member => PJSIP/agent1\nmember => PJSIP/agent2\n"
    )


def _pjsip(pbx: PbxSettings) -> str:
    """Anybody may call in, with keys as the SDP offers them or else as SIP INFO; agents and trunks are known by the name
    in their From (all of it is loopback) and lie on fixed ports."""
    media = "disallow = all\nallow = ulaw,alaw\ndirect_media = no\nrtp_symmetric = yes\ntimers = no\n"
    named = {"agent": pbx.agent_port, "agent-b": pbx.agent_port, **pbx.peers}
    peers = "".join(
        f"[{name}]\ntype = endpoint\ncontext = {'from-callers' if name.startswith('trunk') else 'from-agents'}\n"
        f"aors = {name}\ntransport = udp\ndtmf_mode = {'auto_info' if name == 'trunk' else 'rfc4733'}\n"
        f"call_group = 1\npickup_group = 1\nset_var = TRANSFER_CONTEXT=from-agents\n{media}"
        f"[{name}]\ntype = aor\nqualify_frequency = 0\ncontact = sip:{name}@127.0.0.1:{port}\n"
        for name, port in named.items()
    )
    return (
        "[global]\ntype = global\nuser_agent = rig\nunidentified_request_count = 100000\n"
        f"[udp]\ntype = transport\nprotocol = udp\nbind = 127.0.0.1:{pbx.sip_port}\n"
        f"[anonymous]\ntype = endpoint\ncontext = from-callers\ntrust_id_inbound = yes\ndtmf_mode = auto_info\n{media}"
        f"{peers}"
    )


def _manager(pbx: PbxSettings) -> str:
    local = "deny = 0.0.0.0/0.0.0.0\npermit = 127.0.0.1/255.255.255.255\n"
    secret = f"secret = {pbx.ami_secret}\n"
    form = "eventfilter(name({})) =\n" if pbx.major >= 22 else "eventfilter = Event: {}\n"
    wanted = "".join(form.format(event) for event in AMI_EVENTS)
    return (
        f"[general]\nenabled = yes\nbindaddr = 127.0.0.1\nport = {pbx.ami_port}\n"
        "webenabled = no\ndisplayconnects = no\n"
        f"[{AMI_USER}]\n{secret}{local}read = {AMI_READ}\nwrite = {AMI_WRITE}\nwritetimeout = 10000\n{wanted}"
        # The rig's own account, for tests that must originate or watch everything.
        f"[rig]\n{secret}{local}read = all\nwrite = all\nwritetimeout = 10000\n"
    )


def _modules(pbx: PbxSettings) -> list[str]:
    return [*MODULES.split(), *(["app_macro"] if pbx.major < 22 else [])]


def _records(pbx: PbxSettings, name: str, columns: tuple[str, ...]) -> str:
    """Every field quoted, quotes doubled: an "advanced mapping" of 22.10, an expression of older ones."""
    if pbx.major >= 22:
        return f"[{name}]\nformat = dsv\nfields = {','.join(columns)}\n"
    fields = [column.partition("(")[0] for column in columns]
    known = _OLD_CEL if name.startswith("cel") else {}
    values = [known.get(f, f"CDR({f}{',u' if f in ('start', 'answer', 'end') else ''})") for f in fields]
    return f"[mappings]\n{name} => " + ",".join(f"${{CSV_QUOTE(${{{value}}})}}" for value in values) + "\n"


_OLD_CEL = {
    "eventtype": "eventtype", "eventtime": "eventtime", "num": "CALLERID(num)", "exten": "CHANNEL(exten)",
    "channame": "CHANNEL(channame)", "appname": "CHANNEL(appname)", "appdata": "CHANNEL(appdata)",
    "uniqueid": "CHANNEL(uniqueid)", "linkedid": "CHANNEL(linkedid)", "eventextra": "eventextra",
}  # fmt: skip
