"""From rounds to medians, differences and a table for people (pure)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

PARTS = ("asterisk", "edge", "guard", "central")


def spread(values: Sequence[float], digits: int) -> dict[str, float] | None:
    """Minimum, median and maximum; None of nothing."""
    if not values:
        return None
    return {
        "min": round(min(values), digits),
        "median": round(statistics.median(values), digits),
        "max": round(max(values), digits),
    }


def medians(rounds: Sequence[Row]) -> dict[str, Row]:
    """By variant: the median over its rounds that count, of each figure; for spreads the least, median and greatest."""
    found: dict[str, Row] = {}
    for name in dict.fromkeys(row["variant"] for row in rounds):
        counting = [row for row in rounds if row["variant"] == name and row["counts"]]
        if not counting:
            found[name] = {"rounds": 0}
            continue
        cpu = {
            part: round(statistics.median(row["cpu_ms_per_call"][part] for row in counting), 2)
            for part in (*PARTS, "total")
        }
        found[name] = {
            "rounds": len(counting),
            "cpu_ms_per_call": cpu,
            "cpu_ms_per_call_total_spread": spread([row["cpu_ms_per_call"]["total"] for row in counting], 2),
            "plaintext_on_disk_s": _join(counting, "plaintext_on_disk_s"),
            "plaintext_stays": any(row["plaintext_stays"] for row in counting),
            "hangup_to_durable_ciphertext_ms": _join(counting, "hangup_to_durable_ciphertext_ms"),
        }
    return found


def _join(rows: Sequence[Row], field: str) -> Row | None:
    spreads = [row[field] for row in rows if row[field] is not None]
    if not spreads:
        return None
    return {
        "min": min(s["min"] for s in spreads),
        "median": round(statistics.median(s["median"] for s in spreads), 3),
        "max": max(s["max"] for s in spreads),
    }


def comparison(by_variant: dict[str, Row]) -> Row:
    """What each way adds to a call, in CPU ms, and how the ways compare. None where a variant has no round that counts."""

    def total(name: str) -> float | None:
        row = by_variant.get(name, {"rounds": 0})
        return float(row["cpu_ms_per_call"]["total"]) if row["rounds"] else None

    def less(name: str, base: str) -> float | None:
        a, b = total(name), total(base)
        return None if a is None or b is None else round(a - b, 2)

    def over(a: float | None, b: float | None) -> float | None:
        return None if a is None or b is None or b <= 0 else round(a / b, 3)

    script, ours = less("age_script", "mixmonitor"), less("callwarden", "mixmonitor")
    return {
        "added_to_plain_ms_per_call": {
            name: less(name, "plain") for name in ("mixmonitor", "age_script", "callwarden")
        },
        "added_to_mixmonitor_ms_per_call": {"age_script": script, "callwarden": ours},
        "added_to_mixmonitor_ms_per_call_without_prompt": {
            "age_script_bare": less("age_script_bare", "mixmonitor_bare")
        },
        "callwarden_added_over_age_script_added": over(ours, script),
        "total_over_plain": {
            name: over(total(name), total("plain")) for name in ("mixmonitor", "age_script", "callwarden")
        },
    }


def table(result: Row, titles: dict[str, str]) -> str:
    """The human's view of a result."""
    lines = [
        f"{'':40} {'CPU ms per call: total':>22} {'asterisk':>9} {'edge':>7} {'guard':>7} {'central':>8}"
        f" {'plaintext on disk s':>20} {'hang-up to sealed ms':>21}"
    ]
    for name, row in result["medians"].items():
        if not row["rounds"]:
            lines.append(f"{titles[name]:40} no round counts, see `why` in the rounds")
            continue
        cpu = row["cpu_ms_per_call"]
        parts = (
            f"{cpu['total']:22.1f} {cpu['asterisk']:9.1f} {cpu['edge']:7.1f} {cpu['guard']:7.1f} {cpu['central']:8.1f}"
        )
        plain = row["plaintext_on_disk_s"]
        stays = "+, stays" if row["plaintext_stays"] else ""
        on_disk = "-" if plain is None else f"{plain['median']:.1f}{stays}"
        sealed = row["hangup_to_durable_ciphertext_ms"]
        span = "-" if sealed is None else f"{sealed['min']:.0f} / {sealed['median']:.0f} / {sealed['max']:.0f}"
        lines.append(f"{titles[name]:40} {parts} {on_disk:>20} {span:>21}")
    added = result["comparison"]["added_to_mixmonitor_ms_per_call"]
    if None not in added.values():
        lines.append(
            f"Over MixMonitor the age script adds {added['age_script']:.1f} ms of CPU per call, Callwarden (asking,"
            f" evidence, sealing, reporting) {added['callwarden']:.1f} ms."
        )
    return "\n".join(lines)
