"""One contract for every store: a folder, an S3 service on loopback, and any real one that the environment names."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from central.errors import CentralError
from central.media import leaving
from central.media.folder import FolderStore
from central.media.place import here, require
from central.media.s3 import S3Store
from central.media.settings import MediaConfig
from central.media.sigv4 import EMPTY, Credentials, authorization
from central.media.store import MARKER, Store, key_of, open_store
from tests.unit.central.central_kit import TestCentral, TestEdge
from tests.unit.central.media_kit import Told, fetched
from tests.unit.central.s3_kit import config_of, keyed

#: A real service: CALLWARDEN_TEST_S3="https://HOST BUCKET REGION ACCESS_FILE SECRET_FILE". Its bucket is written to.
REAL = os.environ.get("CALLWARDEN_TEST_S3", "")


@pytest.fixture(params=["folder", "s3", "s3 versioned", "real"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "folder":
        made: Store = FolderStore(tmp_path / "media")
    elif request.param == "real":
        if not REAL:
            pytest.skip("CALLWARDEN_TEST_S3 names no S3 service")
        endpoint, bucket, region, access, secret = REAL.split()
        made = S3Store(
            MediaConfig(
                "s3", endpoint=endpoint, bucket=bucket, region=region, prefix=f"test-{secrets.token_hex(4)}/",
                access_key=Path(access), secret_key=Path(secret),
            )
        )  # fmt: skip
    else:
        service = request.getfixturevalue("service")
        config = config_of(service, tmp_path, prefix="calls/", versioned=request.param != "s3")
        if request.param != "s3":
            enabled = {"Status": "Enabled"}
            service[0].put_bucket_versioning(Bucket=config.bucket, VersioningConfiguration=enabled)
        made = S3Store(config)
    await made.check()
    yield made
    await made.close()


def payload(folder: Path, size: int) -> tuple[Path, bytes, str]:
    data = os.urandom(size)
    path = folder / secrets.token_hex(4)
    path.write_bytes(data)
    return path, data, key_of("pbx-1", hashlib.sha512(data).hexdigest())


async def read(store: Store, key: str, first: int, behind: int) -> bytes:
    return b"".join([piece async for piece in store.read(key, first, behind)])


async def test_what_is_put_is_there_and_what_is_removed_is_gone(store: Store, tmp_path: Path) -> None:
    path, data, key = payload(tmp_path, 700_001)
    assert await store.size(key) is None
    await store.put(key, path, len(data))
    await store.put(key, path, len(data))  # a repeat
    assert await store.size(key) == len(data)
    assert await read(store, key, 0, len(data)) == data
    assert await read(store, key, 65_552, 131_104) == data[65_552:131_104]
    assert await read(store, key, len(data) - 1, len(data)) == data[-1:]
    assert [name async for name, at in store.listing() if abs(at - datetime.now(UTC).timestamp()) < 3600] == [key]
    await store.remove(key)
    await store.remove(key)
    assert await store.size(key) is None
    assert [name async for name, _ in store.listing()] == []
    with pytest.raises(CentralError) as caught:
        await read(store, key, 0, 1)
    assert (caught.value.code, caught.value.status) == ("media.missing", 404)


async def test_neighbours_stay_and_strange_keys_are_refused(store: Store, tmp_path: Path) -> None:
    one, data, key = payload(tmp_path, 1000)
    other, _, neighbour = payload(tmp_path, 10)
    await asyncio.gather(store.put(key, one, 1000), store.put(neighbour, other, 10))
    await store.remove(neighbour)
    assert await read(store, key, 0, 1000) == data
    await store.remove(key)
    for strange in ("", "../../etc/passwd", "pbx-1/aa/short", f"pbx-1/ff/{'0' * 128}", f"a/b/{'0' * 128}"):
        with pytest.raises(CentralError):
            await store.put(strange, one, 1000) if strange else await read(store, "x", 0, 1)


async def test_a_file_of_another_length_is_not_taken(store: Store, tmp_path: Path) -> None:
    path, _, key = payload(tmp_path, 1000)
    with pytest.raises(CentralError):
        await store.put(key, path, 2000)
    assert await store.size(key) is None


async def test_a_store_is_the_one_whose_marker_it_has(store: Store) -> None:
    assert await store.marker() is None
    with pytest.raises(CentralError, match="no marker"):
        await here(store)
    await store.mark("ab" * 16)
    assert await here(store) == f"{store.kind}/abababab"
    await require(store, f"{store.kind}/abababab")
    assert [name async for name, _ in store.listing()] == []
    await store.mark("cd" * 16)  # another one is mounted there now
    with pytest.raises(CentralError, match=f"{store.kind}/cdcdcdcd") as caught:
        await require(store, f"{store.kind}/abababab", "media.not_gone")
    assert (caught.value.code, caught.value.status) == ("media.not_gone", 503)
    await store.mark("no id")
    with pytest.raises(CentralError, match="a marker that is none"):
        await here(store)


async def test_a_bucket_that_keeps_what_is_deleted_is_refused(service: Any, tmp_path: Path) -> None:
    client, _ = service
    config = config_of(service, tmp_path)
    for status in ("Enabled", "Suspended"):
        client.put_bucket_versioning(Bucket=config.bucket, VersioningConfiguration={"Status": status})
        store = S3Store(config)
        with pytest.raises(CentralError, match="keeps versions"):
            await store.check()
        await store.close()
    locked = replace(config, bucket="locked-bucket")
    client.create_bucket(Bucket=locked.bucket, ObjectLockEnabledForBucket=True)
    store = S3Store(locked)
    with pytest.raises(CentralError, match="locks objects"):
        await store.check()
    await store.close()
    missing = S3Store(replace(config, bucket="no-such-bucket"))
    with pytest.raises(CentralError, match="NoSuchBucket"):
        await missing.check()
    await missing.close()


async def test_every_version_goes_and_a_locked_one_is_not_called_gone(service: Any, tmp_path: Path) -> None:
    client, _ = service
    config = config_of(service, tmp_path, versioned=True)
    client.put_bucket_versioning(Bucket=config.bucket, VersioningConfiguration={"Status": "Enabled"})
    store, (path, _, key) = S3Store(config), payload(tmp_path, 100)
    for _ in range(3):
        await store.put(key, path, 100)
    client.delete_object(Bucket=config.bucket, Key=key)  # by another hand: a delete marker
    assert len(client.list_object_versions(Bucket=config.bucket)["Versions"]) == 3
    await store.remove(key)
    left = client.list_object_versions(Bucket=config.bucket)
    assert ("Versions" in left, "DeleteMarkers" in left) == (False, False)
    await store.close()
    locked = replace(config, bucket=f"locked-{secrets.token_hex(4)}")
    client.create_bucket(Bucket=locked.bucket, ObjectLockEnabledForBucket=True)
    store = S3Store(locked)
    await store.check()  # declared
    await store.put(key, path, 100)
    client.put_object_legal_hold(Bucket=locked.bucket, Key=key, LegalHold={"Status": "ON"})
    with pytest.raises(CentralError) as caught:
        await store.remove(key)
    assert caught.value.code == "media.not_gone"
    await store.close()


async def test_a_payload_comes_to_a_bucket_is_read_and_goes(service: Any, tmp_path: Path) -> None:
    """The whole way through central's doors."""
    client, _ = service
    central = TestCentral(tmp_path / "central")
    media = config_of(service, tmp_path, incoming=tmp_path / "incoming", keep_free=0)
    central.config = replace(central.config, media=media)
    await central.start()
    try:
        told = Told.make(TestEdge(central))
        await told.tell(1)
        await told.upload()
        key = key_of("pbx-1", told.sha512())
        assert client.get_object(Bucket=media.bucket, Key=key)["Body"].read() == told.payloads[0]
        assert (await fetched(central, told))[1] == told.payloads[0]
        assert (await fetched(central, told, ranges="bytes=5-9"))[1] == told.payloads[0][5:10]
        body = {"recording_id": told.recording_id, "key_ids": [], "jti": None}
        await told.edge.ask("POST", told.edge.path("keeper/shred"), body)
        assert central.running is not None
        await leaving.remove_all(central.running.central)
        assert [one["Key"] for one in client.list_objects_v2(Bucket=media.bucket)["Contents"]] == [MARKER]
        marker = client.get_object(Bucket=media.bucket, Key=MARKER)["Body"].read().decode()
        assert await central.rows("SELECT state, place FROM media") == [("gone", f"s3/{media.bucket}/{marker[:8]}")]
    finally:
        await central.stop()


async def test_a_service_that_is_not_there_is_said_and_may_come_back(tmp_path: Path) -> None:
    store = S3Store(keyed(tmp_path, MediaConfig("s3", endpoint="http://127.0.0.1:9", bucket="media")))
    path, _, key = payload(tmp_path, 10)
    for work in (store.put(key, path, 10), store.remove(key), store.size(key)):
        with pytest.raises(CentralError) as caught:
            await work
        assert (caught.value.code, caught.value.status) == ("media.store", 503)
    with pytest.raises(CentralError) as refused:
        await store.check()
    assert refused.value.code == "config.media"
    await store.close()


@pytest.mark.parametrize(
    "endpoint",
    ["http://s3.example.com", "ftp://127.0.0.1", "https://", "https://a:b@s3.example.com", "https://s3.example.com/x"],
)
def test_endpoints_that_are_none_are_refused(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(CentralError):
        open_store(keyed(tmp_path, MediaConfig("s3", endpoint=endpoint, bucket="media")))


def test_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    config = keyed(tmp_path, MediaConfig("s3", endpoint="https://s3.example.com", bucket="media"))
    S3Store(config)
    config.secret_key.chmod(0o644)
    with pytest.raises(CentralError, match="others can read"):
        S3Store(config)


#: The four examples of docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, with their published keys.
EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
PUBLISHED = [
    ("GET", "/test.txt", [], {"Range": "bytes=0-9"}, EMPTY,
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
    ("PUT", "/test$file.text", [], {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
     hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
    ("GET", "/", [("lifecycle", "")], {}, EMPTY, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
    ("GET", "/", [("max-keys", "2"), ("prefix", "J")], {}, EMPTY,
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "query", "more", "digest", "signature"), PUBLISHED)
def test_published_signatures(
    method: str, path: str, query: list[tuple[str, str]], more: dict[str, str], digest: str, signature: str
) -> None:
    headers = {
        "Host": "examplebucket.s3.amazonaws.com", "x-amz-content-sha256": digest, "x-amz-date": "20130524T000000Z", **more
    }  # fmt: skip
    made = authorization(
        method,
        path,
        query,
        headers,
        digest,
        credentials=EXAMPLE,
        region="us-east-1",
        at=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert made.endswith(f"Signature={signature}")
    assert made.startswith("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,")
    assert EXAMPLE.secret not in repr(EXAMPLE)
