/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbers are those of each version's own opcode tables; they are stable within a minor
 * version. tests/python_layout asks every interpreter that it finds for its opcodes and compares.
 *
 * A call with a known target is one that the specialising interpreter (3.11 on) has rewritten. The
 * with statement's opcodes count as calls, of __enter__ and __exit__. An attribute, an index or a
 * loop counts only when it is specialised for Python code that it runs.
 */
#include "record/python/opcode_class.h"

#include <stddef.h>

#define CALL OPCODE_CALL
#define CALL_C OPCODE_CALL_C
#define CALL_PYTHON OPCODE_CALL_PYTHON

static const uint8_t classes_3_9[256] = {
	[49] = CALL,  /* WITH_EXCEPT_START */
	[52] = CALL,  /* BEFORE_ASYNC_WITH */
	[131] = CALL, /* CALL_FUNCTION */
	[141] = CALL, /* CALL_FUNCTION_KW */
	[142] = CALL, /* CALL_FUNCTION_EX */
	[143] = CALL, /* SETUP_WITH */
	[161] = CALL, /* CALL_METHOD */
};

static const uint8_t classes_3_10[256] = {
	[49] = CALL,  /* WITH_EXCEPT_START */
	[52] = CALL,  /* BEFORE_ASYNC_WITH */
	[131] = CALL, /* CALL_FUNCTION */
	[141] = CALL, /* CALL_FUNCTION_KW */
	[142] = CALL, /* CALL_FUNCTION_EX */
	[143] = CALL, /* SETUP_WITH */
	[161] = CALL, /* CALL_METHOD */
};

static const uint8_t classes_3_11[256] = {
	[19] = CALL_PYTHON,  /* BINARY_SUBSCR_GETITEM */
	[22] = CALL,         /* CALL_ADAPTIVE */
	[23] = CALL_PYTHON,  /* CALL_PY_EXACT_ARGS */
	[24] = CALL_PYTHON,  /* CALL_PY_WITH_DEFAULTS */
	[49] = CALL,         /* WITH_EXCEPT_START */
	[52] = CALL,         /* BEFORE_ASYNC_WITH */
	[53] = CALL,         /* BEFORE_WITH */
	[64] = CALL,         /* PRECALL_ADAPTIVE */
	[65] = CALL,         /* PRECALL_BOUND_METHOD */
	[66] = CALL_C,       /* PRECALL_BUILTIN_CLASS */
	[67] = CALL_C,       /* PRECALL_BUILTIN_FAST_WITH_KEYWORDS */
	[72] = CALL_C,       /* PRECALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS */
	[73] = CALL_C,       /* PRECALL_NO_KW_BUILTIN_FAST */
	[76] = CALL_C,       /* PRECALL_NO_KW_BUILTIN_O */
	[77] = CALL_C,       /* PRECALL_NO_KW_ISINSTANCE */
	[78] = CALL_C,       /* PRECALL_NO_KW_LEN */
	[79] = CALL_C,       /* PRECALL_NO_KW_LIST_APPEND */
	[80] = CALL_C,       /* PRECALL_NO_KW_METHOD_DESCRIPTOR_FAST */
	[81] = CALL_C,       /* PRECALL_NO_KW_METHOD_DESCRIPTOR_NOARGS */
	[113] = CALL_C,      /* PRECALL_NO_KW_METHOD_DESCRIPTOR_O */
	[121] = CALL_C,      /* PRECALL_NO_KW_STR_1 */
	[127] = CALL_C,      /* PRECALL_NO_KW_TUPLE_1 */
	[141] = CALL_C,      /* PRECALL_NO_KW_TYPE_1 */
	[142] = CALL,        /* CALL_FUNCTION_EX */
	[143] = CALL_PYTHON, /* PRECALL_PYFUNC */
	[166] = CALL,        /* PRECALL */
	[171] = CALL,        /* CALL */
};

static const uint8_t classes_3_12[256] = {
	[20] = CALL_PYTHON,  /* BINARY_SUBSCR_GETITEM */
	[23] = CALL_PYTHON,  /* CALL_PY_EXACT_ARGS */
	[24] = CALL_PYTHON,  /* CALL_PY_WITH_DEFAULTS */
	[28] = CALL_PYTHON,  /* CALL_BOUND_METHOD_EXACT_ARGS */
	[29] = CALL_C,       /* CALL_BUILTIN_CLASS */
	[34] = CALL_C,       /* CALL_BUILTIN_FAST_WITH_KEYWORDS */
	[38] = CALL_C,       /* CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS */
	[39] = CALL_C,       /* CALL_NO_KW_BUILTIN_FAST */
	[40] = CALL_C,       /* CALL_NO_KW_BUILTIN_O */
	[41] = CALL_C,       /* CALL_NO_KW_ISINSTANCE */
	[42] = CALL_C,       /* CALL_NO_KW_LEN */
	[43] = CALL_C,       /* CALL_NO_KW_LIST_APPEND */
	[44] = CALL_C,       /* CALL_NO_KW_METHOD_DESCRIPTOR_FAST */
	[45] = CALL_C,       /* CALL_NO_KW_METHOD_DESCRIPTOR_NOARGS */
	[46] = CALL_C,       /* CALL_NO_KW_METHOD_DESCRIPTOR_O */
	[47] = CALL_C,       /* CALL_NO_KW_STR_1 */
	[48] = CALL_C,       /* CALL_NO_KW_TUPLE_1 */
	[49] = CALL,         /* WITH_EXCEPT_START */
	[52] = CALL,         /* BEFORE_ASYNC_WITH */
	[53] = CALL,         /* BEFORE_WITH */
	[56] = CALL_C,       /* CALL_NO_KW_TYPE_1 */
	[65] = CALL_PYTHON,  /* FOR_ITER_GEN */
	[72] = CALL_PYTHON,  /* LOAD_ATTR_GETATTRIBUTE_OVERRIDDEN */
	[77] = CALL_PYTHON,  /* LOAD_ATTR_PROPERTY */
	[142] = CALL,        /* CALL_FUNCTION_EX */
	[168] = CALL_PYTHON, /* SEND_GEN */
	[171] = CALL,        /* CALL */
	[241] = CALL,        /* INSTRUMENTED_CALL */
	[244] = CALL,        /* INSTRUMENTED_CALL_FUNCTION_EX */
};

static const uint8_t classes_3_13[256] = {
	[1] = CALL,          /* BEFORE_ASYNC_WITH */
	[2] = CALL,          /* BEFORE_WITH */
	[44] = CALL,         /* WITH_EXCEPT_START */
	[53] = CALL,         /* CALL */
	[54] = CALL,         /* CALL_FUNCTION_EX */
	[57] = CALL,         /* CALL_KW */
	[158] = CALL_PYTHON, /* BINARY_SUBSCR_GETITEM */
	[162] = CALL_PYTHON, /* CALL_ALLOC_AND_ENTER_INIT */
	[163] = CALL_PYTHON, /* CALL_BOUND_METHOD_EXACT_ARGS */
	[164] = CALL_PYTHON, /* CALL_BOUND_METHOD_GENERAL */
	[165] = CALL_C,      /* CALL_BUILTIN_CLASS */
	[166] = CALL_C,      /* CALL_BUILTIN_FAST */
	[167] = CALL_C,      /* CALL_BUILTIN_FAST_WITH_KEYWORDS */
	[168] = CALL_C,      /* CALL_BUILTIN_O */
	[169] = CALL_C,      /* CALL_ISINSTANCE */
	[170] = CALL_C,      /* CALL_LEN */
	[171] = CALL_C,      /* CALL_LIST_APPEND */
	[172] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_FAST */
	[173] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS */
	[174] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_NOARGS */
	[175] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_O */
	[176] = CALL_C,      /* CALL_NON_PY_GENERAL */
	[177] = CALL_PYTHON, /* CALL_PY_EXACT_ARGS */
	[178] = CALL_PYTHON, /* CALL_PY_GENERAL */
	[179] = CALL_C,      /* CALL_STR_1 */
	[180] = CALL_C,      /* CALL_TUPLE_1 */
	[181] = CALL_C,      /* CALL_TYPE_1 */
	[187] = CALL_PYTHON, /* FOR_ITER_GEN */
	[192] = CALL_PYTHON, /* LOAD_ATTR_GETATTRIBUTE_OVERRIDDEN */
	[200] = CALL_PYTHON, /* LOAD_ATTR_PROPERTY */
	[208] = CALL_PYTHON, /* SEND_GEN */
	[244] = CALL,        /* INSTRUMENTED_CALL */
	[245] = CALL,        /* INSTRUMENTED_CALL_KW */
	[246] = CALL,        /* INSTRUMENTED_CALL_FUNCTION_EX */
};

static const uint8_t classes_3_14[256] = {
	[4] = CALL,          /* CALL_FUNCTION_EX */
	[43] = CALL,         /* WITH_EXCEPT_START */
	[52] = CALL,         /* CALL */
	[55] = CALL,         /* CALL_KW */
	[136] = CALL_PYTHON, /* BINARY_OP_SUBSCR_GETITEM */
	[143] = CALL_PYTHON, /* CALL_ALLOC_AND_ENTER_INIT */
	[144] = CALL_PYTHON, /* CALL_BOUND_METHOD_EXACT_ARGS */
	[145] = CALL_PYTHON, /* CALL_BOUND_METHOD_GENERAL */
	[146] = CALL_C,      /* CALL_BUILTIN_CLASS */
	[147] = CALL_C,      /* CALL_BUILTIN_FAST */
	[148] = CALL_C,      /* CALL_BUILTIN_FAST_WITH_KEYWORDS */
	[149] = CALL_C,      /* CALL_BUILTIN_O */
	[150] = CALL_C,      /* CALL_ISINSTANCE */
	[151] = CALL_PYTHON, /* CALL_KW_BOUND_METHOD */
	[152] = CALL_C,      /* CALL_KW_NON_PY */
	[153] = CALL_PYTHON, /* CALL_KW_PY */
	[154] = CALL_C,      /* CALL_LEN */
	[155] = CALL_C,      /* CALL_LIST_APPEND */
	[156] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_FAST */
	[157] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS */
	[158] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_NOARGS */
	[159] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_O */
	[160] = CALL_C,      /* CALL_NON_PY_GENERAL */
	[161] = CALL_PYTHON, /* CALL_PY_EXACT_ARGS */
	[162] = CALL_PYTHON, /* CALL_PY_GENERAL */
	[163] = CALL_C,      /* CALL_STR_1 */
	[164] = CALL_C,      /* CALL_TUPLE_1 */
	[165] = CALL_C,      /* CALL_TYPE_1 */
	[171] = CALL_PYTHON, /* FOR_ITER_GEN */
	[179] = CALL_PYTHON, /* LOAD_ATTR_GETATTRIBUTE_OVERRIDDEN */
	[187] = CALL_PYTHON, /* LOAD_ATTR_PROPERTY */
	[197] = CALL_PYTHON, /* SEND_GEN */
	[250] = CALL,        /* INSTRUMENTED_CALL */
	[251] = CALL,        /* INSTRUMENTED_CALL_KW */
	[252] = CALL,        /* INSTRUMENTED_CALL_FUNCTION_EX */
};

static const uint8_t classes_3_15[256] = {
	[4] = CALL,          /* CALL_FUNCTION_EX */
	[41] = CALL,         /* WITH_EXCEPT_START */
	[50] = CALL,         /* CALL */
	[53] = CALL,         /* CALL_KW */
	[136] = CALL_PYTHON, /* BINARY_OP_SUBSCR_GETITEM */
	[144] = CALL_PYTHON, /* CALL_ALLOC_AND_ENTER_INIT */
	[145] = CALL_PYTHON, /* CALL_BOUND_METHOD_EXACT_ARGS */
	[146] = CALL_PYTHON, /* CALL_BOUND_METHOD_GENERAL */
	[147] = CALL_C,      /* CALL_BUILTIN_CLASS */
	[148] = CALL_C,      /* CALL_BUILTIN_FAST */
	[149] = CALL_C,      /* CALL_BUILTIN_FAST_WITH_KEYWORDS */
	[150] = CALL_C,      /* CALL_BUILTIN_O */
	[151] = CALL_C,      /* CALL_EX_NON_PY_GENERAL */
	[152] = CALL_PYTHON, /* CALL_EX_PY */
	[153] = CALL_C,      /* CALL_ISINSTANCE */
	[154] = CALL_PYTHON, /* CALL_KW_BOUND_METHOD */
	[155] = CALL_C,      /* CALL_KW_NON_PY */
	[156] = CALL_PYTHON, /* CALL_KW_PY */
	[157] = CALL_C,      /* CALL_LEN */
	[158] = CALL_C,      /* CALL_LIST_APPEND */
	[159] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_FAST */
	[160] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS */
	[161] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_NOARGS */
	[162] = CALL_C,      /* CALL_METHOD_DESCRIPTOR_O */
	[163] = CALL_C,      /* CALL_NON_PY_GENERAL */
	[164] = CALL_PYTHON, /* CALL_PY_EXACT_ARGS */
	[165] = CALL_PYTHON, /* CALL_PY_GENERAL */
	[166] = CALL_C,      /* CALL_STR_1 */
	[167] = CALL_C,      /* CALL_TUPLE_1 */
	[168] = CALL_C,      /* CALL_TYPE_1 */
	[174] = CALL_PYTHON, /* FOR_ITER_GEN */
	[185] = CALL_PYTHON, /* LOAD_ATTR_GETATTRIBUTE_OVERRIDDEN */
	[193] = CALL_PYTHON, /* LOAD_ATTR_PROPERTY */
	[203] = CALL_PYTHON, /* SEND_GEN */
	[249] = CALL,        /* INSTRUMENTED_CALL */
	[250] = CALL,        /* INSTRUMENTED_CALL_KW */
	[251] = CALL,        /* INSTRUMENTED_CALL_FUNCTION_EX */
};

const uint8_t *opcode_class_table(uint32_t version)
{
	switch (version) {
	case 0x309:
		return classes_3_9;
	case 0x30a:
		return classes_3_10;
	case 0x30b:
		return classes_3_11;
	case 0x30c:
		return classes_3_12;
	case 0x30d:
		return classes_3_13;
	case 0x30e:
		return classes_3_14;
	case 0x30f:
		return classes_3_15;
	default:
		return NULL;
	}
}
