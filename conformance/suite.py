"""Run cases of Autobahn|Testsuite: under Python 2.7.

    suite.py list                print the ids of all cases, as JSON
    suite.py client SPEC         test the server that SPEC names
    suite.py server SPEC FD      test the clients that connect to the listening socket FD, until each case was run

SPEC is the suite's own specification, a JSON file, with one key more: "limit", the seconds after which to end whatever happens. Into
its "outdir" go `verdicts.jsonl`, a line for each case as it ends, and the suite's page of each case.
"""
from __future__ import print_function

import json
import os
import signal
import socket
import sys

from autobahntestsuite import choosereactor  # noqa: F401  # first: it picks the reactor

from autobahntestsuite import case as cases
from autobahntestsuite import fuzzing
from autobahntestsuite.caseset import CaseSet
from twisted.internet import reactor

#: What is kept of a case's result.
KEPT = ("behavior", "behaviorClose", "remoteCloseCode", "duration", "description", "result", "resultClose")


def main():
    if sys.argv[1] == "list":
        known = CaseSet(cases.CaseSetname, cases.CaseBasename, cases.Cases, cases.CaseCategories, cases.CaseSubCategories)
        print(json.dumps(known.parseSpecCases({"cases": ["*"]})))
        return
    with open(sys.argv[2]) as file:
        spec = json.load(file)
    signal.alarm(spec["limit"])
    hasten()
    fuzzing.FuzzingFactory.logCase = note
    # The pages are written as the cases end.
    fuzzing.FuzzingFactory.createReports = lambda factory: None
    if sys.argv[1] == "client":
        fuzzing.startClient(spec)
    else:
        adopt(int(sys.argv[3]))
        fuzzing.startServer(spec, 0)
    reactor.run()


def note(factory, result):
    """Write down how a case ended."""
    agent, case = result["agent"], result["id"]
    factory.agents[agent] = {case: result}
    page = factory.createAgentCaseReportHTML(agent, case, factory.outdir)
    line = dict((name, result[name]) for name in KEPT)
    line.update(case=case, page=page)
    with open(os.path.join(factory.outdir, "verdicts.jsonl"), "a") as file:
        file.write(json.dumps(line, sort_keys=True) + "\n")
    factory.noted = getattr(factory, "noted", set()) | {case}
    if factory.isServer and len(factory.noted) == len(factory.specCases):
        reactor.callLater(0.1, reactor.stop)


def adopt(descriptor):
    """Listen on an inherited socket, where the suite would listen on all interfaces."""

    def listen(port, factory, backlog=50, interface=""):
        socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM).setblocking(0)
        return reactor.adoptStreamPort(descriptor, socket.AF_INET, factory)

    reactor.listenTCP = listen


class Whole(object):
    """A digest that is the message itself: as good for comparing as SHA-1, which is slow in a Python without OpenSSL."""

    def update(self, data):
        self.data = data

    def digest(self):
        return self.data


class Decoded(str):
    """Test data that is decoded once, not for each message."""

    text = None

    def decode(self, *arguments):
        if self.text is None:
            self.text = str.decode(self, *arguments)
        return self.text


def hasten():
    """Spare groups 12 and 13 work that changes neither what they send nor what they find."""
    module = sys.modules[cases.Case12_X_X[0].__module__]
    plain = module.init

    def init(case):
        plain(case)
        case.testData = Decoded(case.testData)

    for case in cases.Case12_X_X + cases.Case13_X_X:
        case.init = init
    module.hashlib = type("hashlib", (object,), {"sha1": Whole})


if __name__ == "__main__":
    main()
