/**
 * Loaded into every test file's process: a process that does not end by itself after its last test has left something
 * open, and fails with the name of it. Without this it would hang for ever.
 */

import { after } from 'node:test'

const graceMillis = 10_000

if (process.env['NODE_TEST_CONTEXT'] !== undefined) {
  after(() => {
    // Not a wait for anything: the timer does not keep the process, so it fires only when something else does.
    setTimeout(() => {
      console.error(`Still open after the last test: ${process.getActiveResourcesInfo().join(', ')}`)
      process.exit(1)
    }, graceMillis).unref()
  })
}
