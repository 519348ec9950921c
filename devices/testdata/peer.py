#!/usr/bin/python3
"""An independent Modbus peer on pymodbus: a client for the simulator, a server for our client. Vendor function 0x20 on both sides.

    peer.py client tcp|rtu PORT UNIT   reads JSON requests, one per line, from standard input and answers in JSON lines
    peer.py server tcp|rtu PORT UNIT   serves one meter like the vendor's; prints "ready", then each accepted purchase

Both use nothing of Meterflow's. pymodbus 3.0 (Debian bookworm) and later are understood.
"""
import asyncio
import json
import struct
import sys

from pymodbus.client import ModbusTcpClient
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.framer.rtu_framer import ModbusRtuFramer
from pymodbus.framer.socket_framer import ModbusSocketFramer
from pymodbus.pdu import ModbusExceptions, ModbusRequest, ModbusResponse
from pymodbus.server import StartAsyncTcpServer

FRAMERS = {"tcp": ModbusSocketFramer, "rtu": ModbusRtuFramer}


class CommandResponse(ModbusResponse):
    """The vendor's answer: address, words, a byte count, the meter number."""

    function_code = 0x20
    _rtu_byte_count_pos = 6

    def __init__(self, data=b"", **kwargs):
        super().__init__(**kwargs)
        self.data = data

    def encode(self):
        return self.data

    def decode(self, data):
        self.data = data


class CommandRequest(ModbusRequest):
    """Vendor function 0x20: shaped like function 16, with an address space of its own."""

    function_code = 0x20
    _rtu_byte_count_pos = 6
    accepted = None  # called with amount and count by the server

    def __init__(self, address=0, values=b"", **kwargs):
        super().__init__(**kwargs)
        self.address, self.values = address, values

    def encode(self):
        return struct.pack(">HHB", self.address, len(self.values) // 2, len(self.values)) + self.values

    def decode(self, data):
        self.address, words, size = struct.unpack(">HHB", data[:5])
        self.values = data[5:5 + size]

    def execute(self, context):
        if self.address != 0x0100 or len(self.values) != 8:
            return self.doException(ModbusExceptions.IllegalAddress)
        amount, count, _ = struct.unpack(">IHH", self.values)
        stored = context.getValues(3, 0x0221, 1)[0]
        if count != stored + 1:
            return self.doException(ModbusExceptions.IllegalValue)
        high, low = context.getValues(3, 0x021F, 2)
        balance = (high << 16 | low) + amount
        context.setValues(3, 0x021F, [balance >> 16 & 0xFFFF, balance & 0xFFFF])
        context.setValues(3, 0x0221, [count])
        print(json.dumps({"amount": amount, "count": count}), flush=True)
        return CommandResponse(struct.pack(">HHB", self.address, 4, 6) + bytes(6))


def client(framer, port, unit):
    peer = ModbusTcpClient("127.0.0.1", port=port, framer=FRAMERS[framer], timeout=3)
    peer.register(CommandResponse)
    if not peer.connect():
        sys.exit("no connection")
    for line in sys.stdin:
        q = json.loads(line)
        if q["do"] == "read":
            answer = peer.read_holding_registers(q["address"], q["words"], slave=unit)
        elif q["do"] == "write":
            answer = peer.write_registers(q["address"], q["values"], slave=unit)
        else:
            answer = peer.execute(CommandRequest(q["address"], struct.pack(">%dH" % len(q["values"]), *q["values"]), unit=unit))
        if answer.isError():
            print(json.dumps({"error": str(answer), "exception": getattr(answer, "exception_code", 0)}), flush=True)
        else:
            print(json.dumps({"registers": list(getattr(answer, "registers", []))}), flush=True)
    peer.close()


def meter():
    """Registers of a single-phase meter with 50 yuan, relay closed, number 000000000001."""
    cells = [0] * 0x5100
    def put(address, *values):
        for i, value in enumerate(values):
            cells[address + i] = value
    put(0x0043, 0, 0, 1)
    put(0x0200, 7)
    put(0x0214, 1)
    put(0x0215, 0, 1500, 0, 100, 0, 200, 0, 300, 0, 400)  # total, sharp, peak, flat, valley
    put(0x5030, 0, 500)
    put(0x021F, 0, 5000)
    put(0x0224, 1 << 13)
    put(0x0228, 26 << 8 | 3, 1 << 8 | 7, 12 << 8 | 30, 0)
    return ModbusSlaveContext(hr=ModbusSequentialDataBlock(0, cells), zero_mode=True)


async def server(framer, port, unit):
    context = ModbusServerContext(slaves={unit: meter()}, single=False)
    task = asyncio.create_task(StartAsyncTcpServer(
        context=context, address=("127.0.0.1", port), framer=FRAMERS[framer], custom_functions=[CommandRequest], allow_reuse_address=True))
    print("ready", flush=True)
    await task


def main():
    role, framer, port, unit = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    if role == "client":
        client(framer, port, unit)
    else:
        asyncio.run(server(framer, port, unit))


if __name__ == "__main__":
    main()
