/** A secret value from standard input, or from a prompt that does not show it. */

import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { onAbort } from '../../abort.ts'
import { PoolsmithError } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import { textOf } from '../../vault/credential-file.ts'
import { type Call, UsageError } from '../command.ts'

const LONGEST_BYTES = 1024 * 1024

/**
 * The whole of standard input, without one line end after it; on a terminal, a line that is asked for.
 *
 * @param times how often the terminal asks: twice for a value that is kept, so that a slip is noticed
 * @throws UsageError for none, one that is too long, binary or not repeated alike; ABORTED
 */
export async function readValue(call: Call, times: 'once' | 'twice' = 'twice'): Promise<Secret> {
  const text = call.input().isTTY === true ? await prompt(call, times) : await readAll(call)
  if (text === '')
    throw new UsageError('the value is empty: type it, or give it by standard input, such as `... < FILE`.')
  if (text.includes('\0')) throw new UsageError('the value holds a NUL character, and a text is needed.')
  return new Secret(text)
}

async function readAll(call: Call): Promise<string> {
  const input = call.input()
  using _ = onAbort(call.signal, () => input.destroy(aborted()))
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of input as AsyncIterable<Buffer | string>) {
    chunks.push(Buffer.from(chunk as string))
    bytes += chunk.length
    if (bytes > LONGEST_BYTES) throw new UsageError(`the value is longer than ${LONGEST_BYTES} bytes.`)
  }
  const text = textOf(Buffer.concat(chunks))
  if (text === undefined) throw new UsageError('the value is binary, and a text in UTF-8 is needed.')
  return text.replace(/\r?\n$/, '')
}

/** Reads lines in raw mode, in which the terminal shows nothing by itself. */
async function prompt({ input, terminal: { log }, signal }: Call, times: 'once' | 'twice'): Promise<string> {
  const hidden = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: input(), output: hidden, terminal: true, historySize: 0 })
  let isInterrupted = false
  const interrupt = (): void => {
    isInterrupted = true
    lines.close()
  }
  // Ctrl-C is no signal in raw mode.
  lines.on('SIGINT', interrupt)
  using _ = onAbort(signal, interrupt)
  const all = lines[Symbol.asyncIterator]()
  const ask = async (words: string): Promise<string> => {
    log.begin(words)
    const { done, value } = await all.next()
    log.line()
    if (isInterrupted) throw aborted()
    // Ctrl-D, or the terminal is gone.
    if (done) throw new UsageError('no value was given.')
    return value
  }
  try {
    const first = await ask('Value (not shown): ')
    if (times === 'once' || first === (await ask('Again: '))) return first
    throw new UsageError('the two values differ; nothing was changed.')
  } finally {
    lines.close()
  }
}

function aborted(): PoolsmithError {
  return new PoolsmithError('Interrupted; nothing was changed.', { code: 'ABORTED', phase: 'credential' })
}
