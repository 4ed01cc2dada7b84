/** A session as a DBA sees it: the client's name and version, and the login's own language. */

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { packageVersion } from '../../src/version.ts'
import { runStock } from '../support/tds/clients.ts'
import { open, token } from '../support/tds/driver.ts'
import { driverFor, sa, sqlServerSetup } from '../support/tds/setup.ts'

const { caFile, issuer, start } = await sqlServerSetup()
const tedious = createRequire(import.meta.url)('tedious/package.json') as { readonly version: string }

test('a login names poolsmith and tedious with their versions, and the machine by an id', async () => {
  await using server = await start({ tokens: issuer.rules })
  const [major = 0, minor = 0, patch = 0] = packageVersion().split('.').map(Number)
  for (const encrypt of ['true', 'false']) {
    const { driver } = driverFor(server, caFile, { encrypt })
    await driver.close((await open(driver, sa())).raw)
  }
  const { driver } = driverFor(server, caFile)
  await driver.close((await open(driver, token(await issuer.issue()))).raw)
  const { logins } = server.journal
  assert.equal(logins.length, 3)
  for (const login of logins) {
    assert.equal(login.libraryName, `poolsmith ${packageVersion()} (tedious ${tedious.version})`)
    assert.equal(login.clientVersion, ((major << 24) | (minor << 16) | (patch << 8)) >>> 0)
    assert.equal(login.applicationName, 'poolsmith')
    assert.equal(login.language, '')
    assert.notEqual(login.clientId.toString('hex'), '010203040506')
    assert.deepEqual(login.clientId, logins[0]?.clientId)
    assert.equal(login.accepted, true)
  }
})

test('a session keeps the language, the date format and the first day of the week of its login', async () => {
  await using server = await start()
  const { driver } = driverFor(server, caFile)
  const { raw } = await open(driver, sa())
  await driver.reset(raw, 'full')
  assert.doesNotMatch(server.journal.requests.join('\n'), /language|dateformat|datefirst/i)
  await driver.close(raw)
})

test('the option language is set at the login and after a reset', async () => {
  await using server = await start()
  const { driver } = driverFor(server, caFile, { language: "O'Brien" })
  const { raw } = await open(driver, sa())
  await runStock(raw, 'select 1 as one')
  await driver.reset(raw, 'full')
  const set = server.journal.requests.filter((sql) => /set language N'O''Brien'/.test(sql))
  assert.equal(set.length, 2)
  assert.doesNotMatch(server.journal.requests.join('\n'), /dateformat|datefirst/i)
  await driver.close(raw)
})

test('the login asks only for what the protocol has not told, and a reset asks nothing', async () => {
  await using server = await start({ tokens: issuer.rules })
  const { driver } = driverFor(server, caFile)
  const { raw } = await open(driver, sa())
  assert.deepEqual([driver.info(raw).processId, driver.info(raw).user], [server.journal.logins[0]?.spid, 'sa'])
  assert.doesNotMatch(server.journal.requests.join('\n'), /spid|suser_sname|print/i)
  await driver.close(raw)
  const byToken = (await open(driver, token(await issuer.issue()))).raw
  const { processId, user } = driver.info(byToken)
  assert.equal(processId, server.journal.logins[1]?.spid)
  assert.equal(user, server.sessions().find(({ spid }) => spid === processId)?.login)
  assert.equal(server.journal.requests.filter((sql) => /suser_sname/.test(sql)).length, 1)
  const messages: string[] = []
  byToken.on('infoMessage', ({ message }) => messages.push(message))
  await driver.reset(byToken, 'full')
  assert.deepEqual(messages, [])
  await driver.close(byToken)
})
