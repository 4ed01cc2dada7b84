/** Selecting, marks, hashes, parts and plans over the TDS server test double. */

import { after, before } from 'node:test'
import { type SqlServerDouble, startDouble } from '../support/sqlserver-double.ts'
import { sqlServerExtractSuite } from '../support/sqlserver-extract-suite.ts'

let double: SqlServerDouble

before(async () => {
  double = await startDouble()
})

after(() => double[Symbol.asyncDispose]())

sqlServerExtractSuite({ name: 'test double', open: (options) => double.open(options) })
