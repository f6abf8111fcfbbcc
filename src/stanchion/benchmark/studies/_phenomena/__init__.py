"""The field's known phenomena, measured on the reference model: does this small world show them too?"""
