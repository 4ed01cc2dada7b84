/** Part of the TDS server test double: the growing response to one request. */

import { MessageWriter, type Transport } from './packets.ts'
import type { Parameter } from './parameters.ts'
import { type Command, DONE, doneProc, doneToken, returnStatus, returnValue } from './tokens.ts'
import { intN } from './types.ts'

/** The growing response to one request: a statement's DONE is held until it is known whether it is the last. */
export class Response {
  readonly writer: MessageWriter
  readonly transport: Transport
  readonly within: boolean
  readonly #isStopping: () => boolean
  #pending: { status: number; rows: number | undefined; command: Command } | undefined
  readonly #returned: Buffer[] = []

  /** @param isStopping whether the client has cancelled the request */
  constructor(transport: Transport, within: boolean, isStopping: () => boolean) {
    this.writer = new MessageWriter(transport)
    this.transport = transport
    this.within = within
    this.#isStopping = isStopping
  }

  get isStopping(): boolean {
    return this.#isStopping()
  }

  async done(status: number, rows?: number, command: Command = 'select'): Promise<void> {
    await this.#flush(DONE.more)
    this.#pending = { status, rows, command }
  }

  async write(token: Buffer): Promise<void> {
    await this.#flush(DONE.more)
    await this.writer.write(token)
  }

  /** An output parameter, which follows the return status (MS-TDS 2.2.7.18): JDBC drops one that comes before it. */
  returns(token: Buffer): void {
    this.#returned.push(token)
  }

  /** A whole number for a parameter, if the client wants its last value back. */
  returnsInt(parameter: Parameter | undefined, value: number): void {
    if (parameter?.isOutput !== true) return
    const name = parameter.name === '' ? '' : `@${parameter.name}`
    this.returns(returnValue(name, intN(4), String(value), parameter.ordinal))
  }

  async #flush(more: number): Promise<void> {
    const pending = this.#pending
    this.#pending = undefined
    if (pending !== undefined)
      await this.writer.write(doneToken(pending.status | more, pending.rows, this.within, pending.command))
  }

  /** The end of one of several calls. */
  async endCall(status: number): Promise<void> {
    await this.#flush(DONE.more)
    await this.writer.write(returnStatus((status & DONE.error) === 0 ? 0 : 1))
    for (const token of this.#returned.splice(0)) await this.writer.write(token)
    await this.writer.write(doneProc(status))
  }

  async end(status: number): Promise<void> {
    if (this.within) await this.endCall(status)
    else if (this.#pending === undefined) await this.writer.write(doneToken(status))
    else {
      this.#pending.status |= status
      await this.#flush(DONE.final)
    }
    await this.writer.end()
  }
}
