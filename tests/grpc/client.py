"""A foreign device: is the contract in proto/ enough to be served?

Speaks to a real county with Google's gRPC, its own keys and code compiled from the .proto files. Started by
tests/run.sh; by hand: `tests/.venv/bin/python tests/grpc/client.py target/debug/county`.
"""

import hashlib
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[2] / "proto"
GENERATED = tempfile.TemporaryDirectory(prefix="bbt-proto-")


def compile_contract():
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("bbt/**/*.proto"))
    includes = Path(protoc.__file__).parent / "_proto"
    out = GENERATED.name
    status = protoc.main(
        ["protoc", f"-I{PROTO}", f"-I{includes}", f"--python_out={out}", f"--grpc_python_out={out}", *sources]
    )
    if status != 0:
        sys.exit(f"compiling {sources} failed with {status}")
    sys.path.insert(0, out)


compile_contract()
from bbt.enrollment.v1 import enrollment_pb2 as enrollment  # noqa: E402
from bbt.enrollment.v1 import enrollment_pb2_grpc as enrollment_grpc  # noqa: E402
from bbt.report.v1 import report_pb2 as report  # noqa: E402
from bbt.report.v1 import report_pb2_grpc as report_grpc  # noqa: E402

REVISION = 1
# Far above what an idle county needs for an answer; the machine may be busy with other tests.
DEADLINE_SECS = 30


class County:
    """The county under test, as its starter describes it."""

    def __init__(self, starter):
        # Our own end of its standard input stays open; when it closes, the county ends.
        self.process = subprocess.Popen([starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{starter} ended with {self.process.wait()} before the county was ready")
        description = json.loads(line)
        self.agents = description["agents"]
        self.enrollment = description["enrollment"]
        self.ca_sha256 = description["ca_sha256"]
        self.tokens = description["tokens"]
        self.root = self.fetch_root()

    def fetch_root(self):
        """Trust as a new device gets it: any chain is shown, only the root with the printed digest is taken."""
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", self.enrollment, "-showcerts", "-alpn", "h2"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE_SECS,
        ).stdout.decode(errors="replace")
        blocks = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", shown, re.S)
        for pem in blocks:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            if certificate.fingerprint(hashes.SHA256()).hex() == self.ca_sha256.lower():
                return certificate
        sys.exit(f"{self.enrollment} showed {len(blocks)} certificates, none with SHA-256 {self.ca_sha256}")

    def channel(self, address, device=None):
        credentials = grpc.ssl_channel_credentials(
            root_certificates=pem_of(self.root),
            private_key=device.key_pem() if device else None,
            certificate_chain=device.chain_pem() if device else None,
        )
        return grpc.secure_channel(address, credentials)

    def end(self):
        self.process.stdin.close()
        self.process.wait(DEADLINE_SECS)
        self.process.stdout.close()


class Device:
    """A key of its own and, once enrolled, a certificate for it."""

    def __init__(self, evidence):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.evidence = evidence
        self.approved = None

    def certificate_request(self):
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "whatever it says is ignored")])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(self.key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.DER)

    def key_pem(self):
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def chain_pem(self):
        chain = [x509.load_der_x509_certificate(der) for der in self.approved.certificate_chain]
        return b"".join(pem_of(certificate) for certificate in chain[:2])

    def certificate(self):
        return x509.load_der_x509_certificate(self.approved.certificate_chain[0])


def pem_of(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def board(serial):
    return [enrollment.Evidence(kind=enrollment.EVIDENCE_KIND_BOARD_SERIAL, value=serial)]


def hello(stub):
    nonce = os.urandom(32)
    return nonce, stub.Hello(
        enrollment.HelloRequest(protocol_revision=REVISION, nonce=nonce), timeout=DEADLINE_SECS
    )


def enroll_request(device, token, nonce):
    return enrollment.EnrollRequest(
        protocol_revision=REVISION,
        nonce=nonce,
        token=token,
        certificate_request=device.certificate_request(),
        evidence=device.evidence,
        agent_version="0.0.0-foreign",
        host_name="foreign-client",
    )


def enroll(stub, device, token):
    _, answer = hello(stub)
    return stub.Enroll(enroll_request(device, token, answer.nonce), timeout=DEADLINE_SECS)


def reason_of(error):
    return dict(error.trailing_metadata() or ()).get("bbt-reason")


def verify_time(signed, nonce, trust_domain, signer_chain, root):
    """The signature as enrollment.proto describes it, and a chain from its signer to the root."""
    certificates = [x509.load_der_x509_certificate(der) for der in signer_chain]
    message = (
        b"bbt signed time v1\0"
        + signed.unix_micros.to_bytes(8, "big")
        + bytes([len(nonce)])
        + nonce
        + trust_domain.encode("ascii")
    )
    certificates[0].public_key().verify(signed.signature, message, ec.ECDSA(hashes.SHA256()))
    for certificate, issuer in zip(certificates, certificates[1:]):
        certificate.verify_directly_issued_by(issuer)
    if certificates[-1] != root:
        certificates[-1].verify_directly_issued_by(root)


class Session:
    """One report stream, spoken one message at a time."""

    def __init__(self, channel, device, revision=REVISION):
        self.run_id = os.urandom(16)
        self.device_id = device.approved.device_id
        self.boot = report.OsBoot(id=os.urandom(16), started_mono_micros=0)
        self.to_send = queue.Queue()
        self.call = report_grpc.ReportServiceStub(channel).Stream(
            iter(self.to_send.get, None), timeout=DEADLINE_SECS
        )
        opening = report.Open(
            protocol_revision=revision,
            run_id=self.run_id,
            device_id=self.device_id,
            os_boot=self.boot,
            agent_version="0.0.0-foreign",
            sent_wall_micros=wall_micros(),
            sent_mono_micros=mono_micros(),
            evidence=device.evidence,
        )
        self.to_send.put(report.StreamRequest(open=opening))

    def welcome(self):
        first = next(self.call)
        assert first.WhichOneof("body") == "welcome", first
        return first.welcome

    def frame(self, seq, kind, body, device_id=None, report_class=report.CLASS_STATE):
        return report.Frame(
            run_id=self.run_id,
            seq=seq,
            device_id=device_id or self.device_id,
            os_boot=self.boot,
            wall_micros=wall_micros(),
            mono_micros=mono_micros(),
            kind=kind,
            body=body,
            **{"class": report_class},
        )

    def state(self, seq, device_id=None):
        hardware = report.Hardware(
            processors=[report.Processor(model="Foreign Processor 1", cores=2, threads=2)],
            memory=report.Memory(total_bytes=4 << 30),
        )
        state = report.State(
            full=True,
            hardware=hardware,
            storage=report.Storage(disks=[report.Disk(name="sda", size_bytes=128_035_676_160)]),
            file_systems=report.FileSystems(),
            network=report.Network(interfaces=[report.Interface(name="eth0", physical=True)]),
            reachability=report.Reachability(),
            software=report.Software(agent_version="0.0.0-foreign"),
        )
        return self.frame(seq, report.KIND_STATE, state.SerializeToString(), device_id)

    def samples(self, seq):
        minute = 60_000_000
        samples = report.Samples(
            mono_micros=[mono_micros() - 2 * minute, minute, minute],
            columns=[
                report.Column(
                    metric=report.METRIC_PROCESSOR_BUSY_PERMILLE,
                    min=[10, 0],
                    mean=[100, -50],
                    max=[900, 10],
                    missing=[1],
                )
            ],
        )
        body = samples.SerializeToString()
        return self.frame(seq, report.KIND_SAMPLES, body, report_class=report.CLASS_HISTORY)

    def send(self, *frames):
        """Sends one batch and gives the verdict of each frame, by sequence number."""
        batch = report.Batch(
            sent_wall_micros=wall_micros(), sent_mono_micros=mono_micros(), frames=list(frames)
        )
        self.to_send.put(report.StreamRequest(batch=batch))
        codes = {}
        while len(codes) < len(frames):
            answer = next(self.call)
            for verdict in answer.ack.verdicts:
                assert verdict.run_id == self.run_id, verdict
                for seq in range(verdict.first_seq, verdict.last_seq + 1):
                    assert seq not in codes, f"two verdicts for {seq}"
                    codes[seq] = report.Code.Name(verdict.code)
        return codes

    def close(self):
        self.to_send.put(None)
        self.call.cancel()


def wall_micros():
    return time.time_ns() // 1000


def mono_micros():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class ForeignClient(unittest.TestCase):
    """Runs in the order of the names: a device is made first, then used."""

    @classmethod
    def setUpClass(cls):
        cls.county = County(STARTER)
        cls.enrollment_channel = cls.county.channel(cls.county.enrollment)
        cls.enrollment_stub = enrollment_grpc.EnrollmentServiceStub(cls.enrollment_channel)
        cls.device = Device(board("FOREIGN-1"))
        cls.neighbour = Device(board("FOREIGN-2"))
        for device, token in ((cls.device, cls.county.tokens[0]), (cls.neighbour, cls.county.tokens[1])):
            answer = enroll(cls.enrollment_stub, device, token)
            assert answer.WhichOneof("outcome") == "approved", answer
            device.approved = answer.approved
        cls.channel = cls.county.channel(cls.county.agents, cls.device)

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        cls.enrollment_channel.close()
        cls.county.end()

    def session(self, **arguments):
        session = Session(self.channel, self.device, **arguments)
        self.addCleanup(session.close)
        return session

    def refusal_of(self, call):
        with self.assertRaises(grpc.RpcError) as refused:
            call()
        return refused.exception

    def test_hello_signs_its_time_over_our_nonce(self):
        nonce, answer = hello(self.enrollment_stub)
        self.assertEqual(answer.time.nonce, nonce)
        self.assertRegex(answer.trust_domain, r"^[0-9a-f]{32}\.bbt$")
        self.assertLess(abs(answer.time.unix_micros - wall_micros()), 60_000_000)
        verify_time(answer.time, nonce, answer.trust_domain, answer.signer_chain, self.county.root)

    def test_the_certificate_names_the_device_in_one_uri(self):
        certificate = self.device.certificate()
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        device_id = uuid.UUID(bytes=self.device.approved.device_id)
        wanted = f"spiffe://{self.device.approved.trust_domain}/device/{device_id}"
        self.assertEqual([name.value for name in names], [wanted])
        self.assertEqual(
            certificate.public_key().public_numbers(), self.device.key.public_key().public_numbers()
        )

    def test_the_certificate_leads_to_the_pinned_root(self):
        leaf, intermediate, root = (
            x509.load_der_x509_certificate(der) for der in self.device.approved.certificate_chain
        )
        leaf.verify_directly_issued_by(intermediate)
        intermediate.verify_directly_issued_by(root)
        self.assertEqual(
            hashlib.sha256(self.device.approved.certificate_chain[2]).hexdigest(), self.county.ca_sha256.lower()
        )
        self.assertEqual(root, self.county.root)

    def test_enrolling_again_with_the_same_key_gives_the_same_device(self):
        again = enroll(self.enrollment_stub, self.device, self.county.tokens[0])
        self.assertEqual(again.approved.device_id, self.device.approved.device_id)

    def test_a_used_token_is_refused_to_another_key(self):
        other = Device(board("FOREIGN-3"))
        error = self.refusal_of(lambda: enroll(self.enrollment_stub, other, self.county.tokens[0]))
        self.assertEqual(reason_of(error), "token_used", error)

    def test_an_unknown_token_is_refused(self):
        other = Device(board("FOREIGN-3"))
        error = self.refusal_of(lambda: enroll(self.enrollment_stub, other, "not-a-token"))
        self.assertEqual(reason_of(error), "token_unknown", error)

    def test_a_nonce_of_ours_is_not_one_of_theirs(self):
        other = Device(board("FOREIGN-3"))
        request = enroll_request(other, self.county.tokens[2], os.urandom(16))
        error = self.refusal_of(lambda: self.enrollment_stub.Enroll(request, timeout=DEADLINE_SECS))
        self.assertEqual(reason_of(error), "nonce_unknown", error)

    def test_welcome_signs_its_time_and_gives_room(self):
        welcome = self.session().welcome()
        self.assertEqual(len(welcome.incarnation), 16)
        self.assertGreater(welcome.max_undecided_batches, 0)
        self.assertGreater(welcome.max_undecided_bytes, 0)
        domain = self.device.approved.trust_domain
        verify_time(welcome.time, welcome.time.nonce, domain, welcome.signer_chain, self.county.root)

    def test_reports_are_committed_once_and_duplicates_after_that(self):
        session = self.session()
        session.welcome()
        frames = [session.state(1), session.samples(2)]
        self.assertEqual(session.send(*frames), {1: "CODE_COMMITTED", 2: "CODE_COMMITTED"})
        self.assertEqual(session.send(*frames), {1: "CODE_DUPLICATE", 2: "CODE_DUPLICATE"})
        self.assertEqual(session.send(session.samples(3), frames[1]), {2: "CODE_DUPLICATE", 3: "CODE_COMMITTED"})

    def test_a_frame_of_another_device_is_not_ours_to_deliver(self):
        session = self.session()
        session.welcome()
        foreign = session.state(2, device_id=self.neighbour.approved.device_id)
        codes = session.send(session.state(1), foreign, session.samples(3))
        self.assertEqual(codes, {1: "CODE_COMMITTED", 2: "CODE_OTHER_IDENTITY", 3: "CODE_COMMITTED"})

    def test_an_unreadable_report_does_not_hold_up_its_neighbours(self):
        session = self.session()
        session.welcome()
        unreadable = session.frame(2, report.KIND_STATE, b"\xff\xff\xff\xff no message")
        codes = session.send(session.state(1), unreadable, session.samples(3))
        self.assertEqual(codes, {1: "CODE_COMMITTED", 2: "CODE_QUARANTINED", 3: "CODE_COMMITTED"})

    def test_a_newer_revision_is_told_to_update_the_controller_first(self):
        error = self.refusal_of(self.session(revision=99).welcome)
        self.assertEqual(error.code(), grpc.StatusCode.FAILED_PRECONDITION)
        self.assertIn("update the controller first", error.details())
        self.assertEqual(reason_of(error), "controller_too_old")

    def test_health_is_serving(self):
        request = health_pb2.HealthCheckRequest()
        answer = health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=DEADLINE_SECS)
        self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)

    def test_without_a_certificate_the_agents_port_is_closed(self):
        with self.county.channel(self.county.agents) as channel:
            request = health_pb2.HealthCheckRequest()
            call = lambda: health_pb2_grpc.HealthStub(channel).Check(request, timeout=DEADLINE_SECS)  # noqa: E731
            self.assertEqual(self.refusal_of(call).code(), grpc.StatusCode.UNAVAILABLE)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: client.py PATH/OF/county (the program that starts a county for tests)")
    STARTER = sys.argv.pop()
    outcome = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2).result
    failed = len(outcome.failures) + len(outcome.errors)
    print(f"{outcome.testsRun - failed} passed, {failed} failed")
    sys.exit(0 if outcome.wasSuccessful() else 1)
