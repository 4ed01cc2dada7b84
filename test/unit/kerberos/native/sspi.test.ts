/** The Windows side is loaded only there and has never run there: all that can be said here is that it loads, and what it says. */

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { createSspi, systemLibrary } from '../../../../src/kerberos/native/sspi.ts'

test('without SSPI the error names the missing library', async (t) => {
  if (process.platform === 'win32') {
    assert.equal((await createSspi()).provider, 'sspi')
    return
  }
  t.diagnostic('no Windows here: only its absence can be seen')
  await assert.rejects(createSspi(), { code: 'GSS_LIBRARY_MISSING', message: /C:\\Windows\\System32\\secur32\.dll/ })
})

test("libraries of Windows are loaded from the system's folder, by their full path", () => {
  assert.equal(systemLibrary('secur32.dll', { SystemRoot: 'D:\\WINNT' }), 'D:\\WINNT\\System32\\secur32.dll')
  for (const SystemRoot of [undefined, '', 'Windows', '..\\here', '\\\\server\\share']) {
    assert.equal(systemLibrary('secur32.dll', { SystemRoot }), 'C:\\Windows\\System32\\secur32.dll')
  }
})

test('the Windows part is marked as not tested, in the source and in the guide', async () => {
  const source = await readFile(new URL('../../../../src/kerberos/native/sspi.ts', import.meta.url), 'utf8')
  const guide = await readFile(new URL('../../../../docs/kerberos.md', import.meta.url), 'utf8')
  assert.match(source, /NOT TESTED/)
  assert.match(guide, /Windows.*not tested/s)
})
