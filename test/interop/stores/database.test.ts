import { databaseSuite } from '../../support/vault/database-suite.ts'
import { startOpenBao } from './openbao.ts'

databaseSuite('OpenBao', startOpenBao)
