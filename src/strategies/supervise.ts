/**
 * Supervises the work of an SDK during a fetch: requests over Node's HTTP client, and programs that it runs. An SDK ends
 * neither when the caller's signal aborts. It waits for an answer without a limit, and reads bodies of any length.
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import type { ChildProcess } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { onAbort, orAbort, TimeLimit } from '../abort.ts'
import { asError } from '../any-error.ts'
import { endProgram } from './end-program.ts'

/** The longest answer that is read, in bytes. Tokens and keys take a few thousand. */
const ANSWER_LIMIT_BYTES = 1024 * 1024
/** The same for a compressed one, which may be a thousand times as long once it is read (gzip, deflate). */
const COMPRESSED_LIMIT_BYTES = 32 * 1024

export interface Supervision {
  /** Ends the requests and programs of the work. */
  readonly signal: AbortSignal
  /** How long one request may take to its answer's last byte, in milliseconds. */
  readonly requestLimitMillis: number
  /** Takes up each request when it begins. */
  readonly requests?: SupervisedRequest[]
}

/** One request, and what has come of it so far. */
export interface SupervisedRequest {
  /** `https:` or `http:`. */
  readonly protocol: string
  /** With the port, where it is not the protocol's own. */
  readonly host: string
  readonly path: string
  status?: number | undefined
  headers?: IncomingHttpHeaders | undefined
  /** Absent while nothing is wrong below HTTP. */
  error?: Error | undefined
}

/** The error of a request whose answer was cut off. An SDK may make a fault of the network of it. */
export class AnswerTooLong extends Error {
  override readonly name = 'AnswerTooLong'

  constructor(host: string) {
    super(`the answer of ${host} is longer than a token or key can be`)
  }
}

interface Supervised extends Supervision {
  /** Fails the work: for what the SDK may never learn of, since an answer has begun. */
  readonly fail: (error: Error) => void
}

const current = new AsyncLocalStorage<Supervised>()
let supervised = 0

/** Runs the work under supervision. @throws what the work throws; the error of an answer that did not arrive whole */
export async function supervise<T>(supervision: Supervision, work: () => Promise<T>): Promise<T> {
  if (supervised++ === 0) {
    subscribe('http.client.request.created', onRequest)
    subscribe('child_process', onProgram)
  }
  const failed = new AbortController()
  const signal = AbortSignal.any([supervision.signal, failed.signal])
  const fail = (error: Error): void => failed.abort(error)
  try {
    return await orAbort(current.run({ ...supervision, signal, fail }, work), failed.signal)
  } finally {
    if (--supervised === 0) {
      unsubscribe('http.client.request.created', onRequest)
      unsubscribe('child_process', onProgram)
    }
  }
}

function onRequest(message: unknown): void {
  const supervision = current.getStore()
  if (supervision === undefined) return
  const { request } = message as { readonly request: ClientRequest }
  const { signal, requestLimitMillis, requests, fail } = supervision
  const { protocol, path, host: name } = request
  const host = String(request.getHeader('host') ?? name)
  const seen: SupervisedRequest = { protocol, host, path }
  requests?.push(seen)
  const end = (error: Error): void => {
    seen.error ??= error
    request.destroy(error)
  }
  const limit = new TimeLimit(requestLimitMillis, () => end(tooSlow(host, requestLimitMillis)))
  const registration = onAbort(signal, () => end(asError(signal.reason)))
  request.prependListener('error', (error: Error) => {
    seen.error ??= error
  })
  request.prependListener('response', (response: IncomingMessage) => {
    Object.assign(seen, { status: response.statusCode, headers: response.headers })
    limitLength(response, () => end(new AnswerTooLong(host)))
    const { socket } = response
    const onPeer = (): void => {
      if (!response.complete) seen.error ??= cutOff(host)
    }
    socket.once('end', onPeer).once('error', onPeer)
    response.once('close', () => {
      socket.off('end', onPeer).off('error', onPeer)
      if (seen.error !== undefined) fail(seen.error)
    })
  })
  request.once('close', () => {
    limit[Symbol.dispose]()
    registration[Symbol.dispose]()
  })
}

/** Node's parser hands each piece of a body to `push`, before it is read. */
function limitLength(response: IncomingMessage, stop: () => void): void {
  const limit = response.headers['content-encoding'] === undefined ? ANSWER_LIMIT_BYTES : COMPRESSED_LIMIT_BYTES
  const push = response.push
  let length = 0
  response.push = function (this: IncomingMessage, chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    length += chunk?.length ?? 0
    if (length <= limit) return push.call(this, chunk, encoding)
    stop()
    return false
  }
}

function onProgram(message: unknown): void {
  const supervision = current.getStore()
  if (supervision === undefined) return
  const { process: program } = message as { readonly process: ChildProcess }
  const registration = onAbort(supervision.signal, () => endProgram(program))
  program.once('exit', () => registration[Symbol.dispose]())
}

function tooSlow(host: string, limitMillis: number): Error {
  const message = `no answer from ${host} within ${limitMillis / 1000} s`
  return Object.assign(new Error(message), { code: 'ETIMEDOUT' })
}

function cutOff(host: string): Error {
  return Object.assign(new Error(`${host} closed the connection in the middle of its answer`), { code: 'ECONNRESET' })
}
