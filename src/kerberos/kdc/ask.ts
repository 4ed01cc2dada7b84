import { type ChildProcess, fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { PoolsmithError } from '../../errors.ts'
import { inBackground, unobserved } from '../../tracing.ts'
import { pooledCalls } from '../call-queue.ts'
import { type Answer, surroundings } from './messages.ts'
import type { Tasks } from './tasks.ts'

/** How long the process is kept when there is nothing to ask, in milliseconds. */
const IDLE_MILLIS = 10_000

/** Threads of its pool: calls that hang hold one each. */
const THREADS = 16

type Task = keyof Tasks
type Request<Name extends Task> = Parameters<Tasks[Name]>[0]
type Result<Name extends Task> = Awaited<ReturnType<Tasks[Name]>>

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/**
 * Asks a KDC in another process. Such a call cannot be stopped, and with a KDC that is silent it takes half a minute:
 * on a thread of this process it would hold up `process.exit`, the end of a worker, and the rest of libuv's pool. The
 * other process keeps nothing alive and ends with this one.
 *
 * Where it cannot be started (a bundle without its file, a sandbox) the call runs in this process.
 */
export async function askKdc<Name extends Task>(task: Name, request: Request<Name>): Promise<Result<Name>> {
  const asking = AskingProcess.current()
  if (asking !== undefined) {
    try {
      return (await asking.ask(task, request)) as Result<Name>
    } catch (error) {
      if (!(error instanceof CannotStart)) throw error
    }
  }
  return await askHere(task, request)
}

async function askHere<Name extends Task>(task: Name, request: Request<Name>): Promise<Result<Name>> {
  const { TASKS } = await import('./tasks.ts')
  const run = TASKS[task] as (request: Request<Name>) => Promise<Result<Name>>
  const info = { purpose: 'a KDC', realm: '', local: true }
  return await pooledCalls.run(info, () => run(request), { signal: undefined, aborted: () => undefined })
}

/** The other process ended before it had answered anything. */
class CannotStart extends Error {
  override readonly name = 'CannotStart'
}

class AskingProcess {
  static #current: AskingProcess | undefined
  static #cannotStart = false

  readonly #child: ChildProcess
  /** Its user: this process may have become another one since. */
  readonly #user = process.geteuid?.()
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0
  #hasAnswered = false
  /** The contexts that are kept there between two steps. */
  readonly #contexts = new Set<string>()
  #idle: NodeJS.Timeout | undefined

  /** The one of this thread, started when it is needed; undefined when it cannot be started. */
  static current(): AskingProcess | undefined {
    const current = AskingProcess.#current
    if (current !== undefined && current.#user === process.geteuid?.()) return current
    if (current !== undefined) current.#close()
    if (AskingProcess.#cannotStart) return undefined
    try {
      // It outlives the request that needs it first.
      AskingProcess.#current = unobserved(() => new AskingProcess(program()))
    } catch {
      // A bundle without the file of the program, or a sandbox: Node's permissions, for example.
      AskingProcess.#cannotStart = true
    }
    return AskingProcess.#current
  }

  private constructor(file: string) {
    const { NODE_OPTIONS: _, ...environment } = process.env
    this.#child = fork(file, [], {
      // Its own group: the interrupt of a terminal is for this process, which may go on for a while.
      detached: true,
      env: { ...environment, UV_THREADPOOL_SIZE: String(THREADS), ELECTRON_RUN_AS_NODE: '1' },
      execArgv: [],
      serialization: 'advanced',
      // KRB5_TRACE may name the standard output.
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#child.on('message', (answer: Answer) => this.#took(answer))
    this.#child.on('error', (cause) => this.#ended(cause.message))
    this.#child.on('exit', (code, signal) => this.#ended(signal ?? `code ${code}`))
    this.#child.unref()
    this.#child.channel?.unref()
  }

  ask(task: Task, request: unknown): Promise<unknown> {
    clearTimeout(this.#idle)
    if (typeof request === 'object' && request !== null && 'context' in request)
      this.#contexts.delete(String(request.context))
    this.#lastId++
    const id = this.#lastId
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#waiting.set(id, { resolve, reject })
    this.#child.send({ id, surroundings: surroundings(), task, request }, (error) => {
      if (error !== null) this.#ended(error.message)
    })
    return promise
  }

  #took({ id, result, failure }: Answer): void {
    this.#hasAnswered = true
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (typeof result === 'object' && result !== null && 'context' in result) this.#contexts.add(String(result.context))
    if (failure === undefined) waiting?.resolve(result)
    else if (failure.options === undefined) waiting?.reject(new Error(failure.message))
    else waiting?.reject(new PoolsmithError(failure.message, failure.options))
    if (this.#waiting.size === 0 && this.#contexts.size === 0)
      this.#idle = inBackground(() => setTimeout(() => this.#close(), IDLE_MILLIS).unref())
  }

  #close(): void {
    if (AskingProcess.#current === this) AskingProcess.#current = undefined
    if (this.#child.connected) this.#child.disconnect()
  }

  #ended(reason: string): void {
    this.#close()
    if (!this.#hasAnswered) AskingProcess.#cannotStart = true
    const error = this.#hasAnswered
      ? new PoolsmithError(`The process that asks the KDC ended (${reason}).`, {
          code: 'GSS_FAILED',
          phase: 'credential',
          transient: true,
          hint: 'Try again; it is started anew. Look for a crash of libkrb5, or for memory that ran out.',
        })
      : new CannotStart(reason)
    for (const [id, { reject }] of this.#waiting) {
      this.#waiting.delete(id)
      reject(error)
    }
  }
}

/** The file of its program, as a source or as built. */
function program(): string {
  const file = new URL(import.meta.url.endsWith('.ts') ? './process.ts' : './process.js', import.meta.url)
  if (!existsSync(file)) throw new Error(`There is no ${file}`)
  return fileURLToPath(file)
}
