import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Trace extends AsyncDisposable {
  /** The steps so far, one on each line. */
  lines(): Promise<string[]>
}

/**
 * Has MIT's library write each of its steps to a file (`KRB5_TRACE`). The library reads the environment at the start of
 * each operation, so that this holds for the whole process until it is disposed of: for a command, not for a service.
 */
export async function startTrace(): Promise<Trace> {
  const folder = await mkdtemp(join(tmpdir(), 'poolsmith-trace-'))
  const file = join(folder, 'trace')
  const before = process.env.KRB5_TRACE
  process.env.KRB5_TRACE = file
  return {
    lines: async () => readTrace(await readFile(file, 'utf8').catch(() => '')),
    [Symbol.asyncDispose]: async () => {
      if (before === undefined) delete process.env.KRB5_TRACE
      else process.env.KRB5_TRACE = before
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** `[4711] 1795396180.123456: Getting credentials …`: the time tells nothing here. */
export function readTrace(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const words = /^\[\d+\] \d+\.\d+: (.*)$/.exec(line)?.[1]
    return words === undefined ? [] : [words]
  })
}
