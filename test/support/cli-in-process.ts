import { Readable, Writable } from 'node:stream'
import { run } from '../../src/cli/run.ts'
import { Screen } from '../../src/cli/terminal.ts'

export interface Finished {
  readonly code: number
  readonly out: string
  readonly log: string
}

/** Runs the `poolsmith` program in this process. It has no terminal, and only the given environment. */
export async function poolsmith(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  input = '',
): Promise<Finished> {
  const texts = { out: '', log: '' }
  const screen = (name: 'out' | 'log'): Screen =>
    new Screen(
      new Writable({
        write(chunk, _encoding, done) {
          texts[name] += chunk
          done()
        },
      }),
    )
  const code = await run(args, {
    terminal: { out: screen('out'), log: screen('log') },
    environment,
    signal: new AbortController().signal,
    input: () => Readable.from([input]),
    exitCodeOfSignal: () => undefined,
  })
  return { code, ...texts }
}
