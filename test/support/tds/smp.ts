/**
 * Part of the TDS server test double: the sessions of a connection with MARS (MS-SMP). After the login each TDS packet
 * of both sides travels in a packet of its session.
 */

import { Duplex } from 'node:stream'
import type { Transport } from './packets.ts'

const HEADER_LENGTH = 16
/** SMID of every packet. */
const SMP = 0x53
const FLAG = { syn: 0x01, ack: 0x02, fin: 0x04, data: 0x08 } as const
/** How many packets a side may send before the other one has taken the first of them (MS-SMP 3.1.5.1.3). */
const WINDOW = 4

interface SmpPacket {
  readonly flags: number
  readonly sid: number
  readonly sequence: number
  /** The highest sequence number that the sender of the packet accepts. */
  readonly window: number
  readonly data: Buffer
}

function smpPacket({ flags, sid, sequence, window, data }: SmpPacket): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH)
  header[0] = SMP
  header[1] = flags
  header.writeUInt16LE(sid, 2)
  header.writeUInt32LE(HEADER_LENGTH + data.length, 4)
  header.writeUInt32LE(sequence, 8)
  header.writeUInt32LE(window, 12)
  return Buffer.concat([header, data])
}

/** One session, as a socket. Answers are kept until the client takes them, so that other sessions can be served. */
export class SmpSession extends Duplex {
  readonly #send: (packet: SmpPacket) => void
  readonly #reset: () => void
  readonly #sid: number
  #sent = 0
  #received = 0
  #acknowledged = 0
  #peerWindow: number
  #waiting: Buffer[] = []

  constructor(sid: number, peerWindow: number, send: (packet: SmpPacket) => void, reset: () => void) {
    super()
    this.#sid = sid
    this.#peerWindow = peerWindow
    this.#send = send
    this.#reset = reset
  }

  accept({ flags, sequence, window, data }: SmpPacket): void {
    this.#peerWindow = window
    this.#pump()
    if ((flags & FLAG.data) !== 0) {
      if (sequence !== this.#received + 1) throw new Error(`SMP: packet ${sequence} behind ${this.#received}`)
      this.#received = sequence
      this.push(data)
      if (this.#received - this.#acknowledged >= WINDOW / 2) this.#write(FLAG.ack, this.#sent)
    }
    if ((flags & FLAG.fin) !== 0) {
      this.#write(FLAG.fin, this.#sent)
      this.push(null)
      this.end()
    }
  }

  #write(flags: number, sequence: number, data: Buffer = Buffer.alloc(0)): void {
    this.#acknowledged = this.#received
    this.#send({ flags, sid: this.#sid, sequence, window: this.#received + WINDOW, data })
  }

  #pump(): void {
    while (this.#waiting.length > 0 && this.#sent < this.#peerWindow) {
      this.#write(FLAG.data, ++this.#sent, this.#waiting.shift())
    }
  }

  override _read(): void {
    // The window limits what the client sends.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    // Only whole TDS packets are written; their header has their length.
    for (let at = 0; at < chunk.length; at += chunk.readUInt16BE(at + 2)) {
      this.#waiting.push(chunk.subarray(at, at + chunk.readUInt16BE(at + 2)))
    }
    this.#pump()
    callback()
  }

  resetAndDestroy(): void {
    this.#reset()
    this.destroy()
  }
}

/** Reads the packets of a connection from here on, and gives each session that the client begins to `serve`. */
export async function multiplex(transport: Transport, serve: (session: SmpSession) => Promise<void>): Promise<void> {
  const sessions = new Map<number, SmpSession>()
  const ended = Promise.withResolvers<void>()
  const served: Promise<void>[] = []
  const send = (packet: SmpPacket): void => void transport.writeRaw(smpPacket(packet))
  const reset = (): void => void transport.socket.resetAndDestroy()
  const receive = (packet: SmpPacket): void => {
    const { sid, flags, window } = packet
    const known = sessions.get(sid)
    if (known !== undefined) {
      known.accept(packet)
      return
    }
    if ((flags & FLAG.syn) === 0) throw new Error(`SMP: a packet of session ${sid}, which was not begun`)
    const session = new SmpSession(sid, window, send, reset)
    session.once('close', () => sessions.delete(sid))
    sessions.set(sid, session)
    served.push(serve(session).catch(ended.reject))
  }
  let rest = Buffer.alloc(0)
  transport.handOver((chunk) => {
    rest = Buffer.concat([rest, chunk])
    try {
      while (rest.length >= HEADER_LENGTH) {
        if (rest[0] !== SMP) throw new Error('SMP: bytes that are no packet')
        const length = rest.readUInt32LE(4)
        if (rest.length < length) return
        receive({
          flags: rest[1] ?? 0,
          sid: rest.readUInt16LE(2),
          sequence: rest.readUInt32LE(8),
          window: rest.readUInt32LE(12),
          data: rest.subarray(HEADER_LENGTH, length),
        })
        rest = rest.subarray(length)
      }
    } catch (error) {
      ended.reject(error)
    }
  })
  transport.socket.once('close', () => ended.resolve())
  try {
    await ended.promise
  } finally {
    for (const session of sessions.values()) session.destroy()
    await Promise.all(served)
  }
}
