import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { unprivileged } from './unprivileged.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts')

export interface CliRun {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CliOptions {
  /** The whole environment except PATH. */
  readonly environment?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** File modes apply to it, as to every user except root. */
  readonly unprivileged?: boolean
  /** Runs it on a pseudo-terminal of 80 columns; `stdout` then has all its output. */
  readonly terminal?: boolean
  /** The texts that are typed on the pseudo-terminal, each once the output after the one before matches. */
  readonly typed?: readonly (readonly [when: RegExp, text: string])[]
  /** A signal to send as soon as the output (either of them) matches, or the promise resolves. */
  readonly interrupt?: { readonly when: RegExp | Promise<unknown>; readonly signal: NodeJS.Signals }
}

/** Runs the `poolsmith` program as its own process, from the sources. */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliRun> {
  const plain = [process.execPath, MAIN, ...args]
  const command = options.unprivileged ? unprivileged(plain) : plain
  const quoted = command.map((part) => `'${part.replaceAll("'", `'\\''`)}'`).join(' ')
  const [program = '', ...rest] = options.terminal
    ? ['script', '-qec', `stty cols 80; exec ${quoted}`, '/dev/null']
    : command
  const child = spawn(program, rest, {
    cwd: options.cwd ?? process.cwd(),
    env: { PATH: process.env.PATH, ...options.environment },
    stdio: [options.typed === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  }) as ChildProcessByStdio<Writable | null, Readable, Readable>
  if (options.typed !== undefined) type(child, options.typed)
  const { interrupt } = options
  if (interrupt?.when instanceof Promise) {
    void interrupt.when.then(() => child.kill(interrupt.signal))
  } else if (interrupt !== undefined) {
    const { when, signal } = interrupt
    let seen = ''
    const watch = (chunk: Buffer): void => {
      seen += chunk
      if (!when.test(seen)) return
      child.kill(signal)
      child.stdout.off('data', watch)
      child.stderr.off('data', watch)
    }
    child.stdout.on('data', watch)
    child.stderr.on('data', watch)
  }
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ])
  return { code, stdout, stderr }
}

function type(
  { stdin, stdout }: ChildProcessByStdio<Writable | null, Readable, Readable>,
  typed: CliOptions['typed'] = [],
): void {
  let seen = ''
  let next = 0
  stdout.on('data', (chunk: Buffer) => {
    seen += chunk
    const [when, text] = typed[next] ?? []
    if (when === undefined || text === undefined || !when.test(seen)) return
    seen = ''
    next++
    stdin?.write(text)
  })
}
