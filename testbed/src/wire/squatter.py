# A host that has addresses nobody gave it: answers ARP requests for them, each after a while of its own.
# INTERFACE FIRST LAST LEAST-MS MOST-MS LATE INSISTS
import heapq, random, select, socket, struct, sys, time

interface = sys.argv[1]
first, last = (struct.unpack("!I", socket.inet_aton(word))[0] for word in sys.argv[2:4])
least, most, late, insists = (int(word) for word in sys.argv[4:8])
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
link.bind((interface, 0x0806))
mac = link.getsockname()[4]
everybody = b"\xff" * 6
announced, pending, order = set(), [], 0


def arp(to, operation, target_mac, target_ip, mine):
    head = to + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, operation)
    return (head + mac + mine + target_mac + target_ip).ljust(60, b"\0")


print("squatting", flush=True)
while True:
    wait = max(0, pending[0][0] - time.monotonic()) if pending else None
    if select.select([link], [], [], wait)[0]:
        frame = link.recv(2048)
        sender_mac, sender_ip, target_ip = frame[22:28], frame[28:32], frame[38:42]
        if sender_mac != mac and first <= struct.unpack("!I", target_ip)[0] <= last:
            answer = None
            if sender_ip == target_ip:
                # Somebody else says that it has it. Who is late lets whoever begins with it finish that.
                again = target_ip in announced
                announced.add(target_ip)
                if insists and (again or not late):
                    answer = arp(everybody, 1, b"\0" * 6, target_ip, target_ip)
            elif frame[20:22] == b"\0\x01" and (target_ip in announced or not late):
                answer = arp(sender_mac, 2, sender_mac, sender_ip, target_ip)
            if answer:
                order += 1
                at = time.monotonic() + random.uniform(least, most) / 1000
                heapq.heappush(pending, (at, order, answer))
    while pending and pending[0][0] <= time.monotonic():
        link.send(heapq.heappop(pending)[2])
