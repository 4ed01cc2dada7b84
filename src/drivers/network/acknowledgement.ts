/**
 * Notices that bytes were sent into a dead network.
 *
 * TCP's keep-alive probes detect a dead peer only while no sent bytes wait for an acknowledgement. A statement that was
 * sent into a dead network is sent again and again instead: on Linux for a quarter of an hour (tcp_retries2), while
 * other systems give up within seconds. The option TCP_USER_TIMEOUT would solve this and cannot be set from Node,
 * but the kernel's table of sockets says how often it has retransmitted without success.
 *
 * All sockets share one timer and one reading of the table, and both only while a statement waits for its answer: idle
 * sessions cost nothing.
 */

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { inBackground } from '../../tracing.ts'
import { readSendings } from './socket-table.ts'

/** With as many looks as below: given up after 30 to 40 seconds, as the keep-alive probes do. */
const PERIOD_MILLIS = 10_000
const LOOKS = 3

type Write = (chunk: unknown, encoding?: BufferEncoding, done?: (error?: Error | null) => void) => boolean

interface Guarded {
  readonly socket: Socket
  /** Whether an answer is awaited. */
  isWaiting: () => boolean
  /** Something was sent since the last time at which no answer was awaited. */
  armed: boolean
  /** How many bytes had been read when it was armed, or at the last look. */
  heard: number
  /** How many bytes had been sent when the kernel said that all of them are acknowledged. */
  acknowledged: number
  inVain: number
}

export interface AcknowledgementOptions {
  readonly periodMillis?: number
  /** Default: the kernel's table. */
  readonly look?: typeof readSendings
}

/** Looks after any number of sockets. */
export class AcknowledgementGuard {
  readonly #periodMillis: number
  readonly #look: typeof readSendings
  readonly #armed = new Set<Guarded>()
  #timer: NodeJS.Timeout | undefined

  constructor({ periodMillis = PERIOD_MILLIS, look = readSendings }: AcknowledgementOptions = {}) {
    this.#periodMillis = periodMillis
    this.#look = look
  }

  /** Whether it looks at sockets at present. */
  get active(): boolean {
    return this.#timer !== undefined
  }

  /**
   * From now on destroys the socket with ETIMEDOUT once what was written to the stream has been retransmitted in vain
   * for about half a minute and nothing has been heard meanwhile.
   *
   * @param stream the stream that statements are written to: the socket, or the encryption over it
   * @param isWaiting whether a statement waits for an answer; asked every ten seconds after something was written
   */
  watch(socket: Socket, stream: Duplex, isWaiting: () => boolean): void {
    const state: Guarded = { socket, isWaiting, armed: false, heard: 0, acknowledged: -1, inVain: 0 }
    const write = stream.write as Write
    const armed: Write = (chunk, encoding, done) => {
      if (!state.armed) this.#arm(state)
      return write.call(stream, chunk, encoding, done)
    }
    stream.write = armed as Duplex['write']
    // Else a closed session would stay in memory until the next look.
    socket.once('close', () => this.#armed.delete(state))
  }

  #arm(state: Guarded): void {
    state.armed = true
    state.heard = state.socket.bytesRead
    state.inVain = 0
    this.#armed.add(state)
    this.#timer ??= this.#schedule()
  }

  /** One look sets the timer for the next one, whichever request has sent the first statement. */
  #schedule(): NodeJS.Timeout {
    return inBackground(() => setTimeout(() => void this.#check(), this.#periodMillis).unref())
  }

  async #check(): Promise<void> {
    const silent: Guarded[] = []
    for (const state of this.#armed) {
      const { socket } = state
      if (socket.destroyed || !state.isWaiting()) {
        state.armed = false
        this.#armed.delete(state)
        continue
      }
      const { bytesRead, bytesWritten } = socket
      if (bytesRead !== state.heard) {
        state.heard = bytesRead
        state.inVain = 0
      } else if (bytesWritten !== state.acknowledged) {
        silent.push(state)
      }
    }
    if (silent.length > 0) await this.#lookAt(silent)
    this.#timer = this.#armed.size > 0 ? this.#schedule() : undefined
  }

  async #lookAt(silent: readonly Guarded[]): Promise<void> {
    const written = silent.map(({ socket }) => socket.bytesWritten)
    const sendings = await this.#look(silent.map(({ socket }) => socket))
    for (const [index, state] of silent.entries()) {
      const { socket } = state
      const sending = sendings.get(socket)
      if (sending === 'done') state.acknowledged = written[index] ?? -1
      state.inVain = sending === 'in vain' && socket.bytesRead === state.heard ? state.inVain + 1 : 0
      if (state.inVain >= LOOKS) socket.destroy(lost(socket))
    }
  }
}

/** The one that all sessions share. */
export const acknowledgements = new AcknowledgementGuard()

function lost({ remoteAddress, remotePort }: Socket): Error {
  const message = `write ETIMEDOUT: ${remoteAddress}:${remotePort} acknowledges nothing any more`
  return Object.assign(new Error(message), { code: 'ETIMEDOUT', syscall: 'write' })
}
