/**
 * A process that writes to an audit log until it is killed or its input ends. It prints the number of each line that the
 * log has answered for, or `failed` and the code.
 *
 * Arguments: the file, the mode, `chain` or `plain`, the lines under way at once.
 */

import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { openAuditLog } from '../../src/audit/index.ts'

const [file = '', mode = 'on', chain = 'plain', width = '1'] = process.argv.slice(2)
const log = openAuditLog({ file, mode: mode as 'on' | 'required', chain: chain === 'chain' })
log.onFailure(() => undefined)
let goesOn = true
process.stdin.on('end', () => {
  goesOn = false
})
process.stdin.resume()
let next = 0

async function write(): Promise<void> {
  while (goesOn) {
    const number = next++
    const place = `number-${number}`
    try {
      await log.record({ kind: 'secret', action: 'read', place, outcome: 'success' })
      writeSync(1, `${number}\n`)
    } catch (error) {
      writeSync(1, `failed ${(error as { code: string }).code}\n`)
      await sleep(5)
    }
    // Under `on` nothing is waited for.
    if (mode === 'on') await sleep(1)
  }
}

await Promise.all(Array.from({ length: Number(width) }, write))
await log.close()
