#!/usr/bin/env python3
"""The cable between the hosts: usage hub.py FOLDER.

Each host has a datagram socket FOLDER/hN.lan and sends its Ethernet frames to FOLDER/hub.sock; the hub passes each
frame on to all others, as the old kind of hub did. No port is used, so nothing outside this machine can listen.
"""

import os
import socket
import sys


def main():
    # Hosts know each other by the bare names of their sockets; so the folder's path may be of any length.
    os.chdir(sys.argv[1])
    hub = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    hub.bind("hub.sock")
    while True:
        frame, sender = hub.recvfrom(65536)
        for entry in os.scandir("."):
            if not entry.name.endswith(".lan") or entry.name == sender:
                continue
            try:
                hub.sendto(frame, socket.MSG_DONTWAIT, entry.name)
            except OSError:
                # A host that ended or is slow loses frames, as on any network.
                pass


if __name__ == "__main__":
    main()
